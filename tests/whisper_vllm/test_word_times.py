"""Segments get words with times by what the model attended to."""

import itertools

import numpy as np

from app.audio.waveform import SAMPLE_RATE
from app.models.base import Segment
from app.models.whisper_vllm.word_times import aligned
from app.speech.windows import Part, Window
from tests.transcription.fakes import TS

CONTENT = {1: b" one", 2: b" two", 3: b" three"}
SILENCE = np.zeros(SAMPLE_RATE, np.int16)


def attending(*frames, of=50):
    """The score of tokens of which each is heard from its frame to the next one's, of a second."""
    score = np.full((len(frames), of), -1, np.float32)
    for token, (begin, end) in enumerate(itertools.pairwise([*frames, of])):
        score[token, begin : max(end, begin + 1)] = 1
    return score


def words(segments):
    return [(w.text, w.start_ms, w.end_ms) for s in segments for w in s.words]


def sampled(*ids):
    return [(i, np.log(0.5)) for i in ids]


def segment(start_ms, end_ms, *tokens):
    text = b"".join(CONTENT[token] for token in tokens).decode()
    return Segment(start_ms, end_ms, text, tokens)


def test_a_word_starts_at_its_first_frame_and_ends_where_the_next_token_starts():
    window = Window.of(5 * SAMPLE_RATE, SILENCE)
    heard = sampled(TS, 1, 2, TS + 40)
    found = aligned([segment(5000, 5800, 1, 2)], heard, attending(0, 10, 20, 40), window,
                    CONTENT.__getitem__)  # fmt: skip
    assert [text for text, *_ in words(found)] == [" one", " two"]
    (_, start, between), (_, begins, end) = words(found)
    assert (start, between, begins, end) == (5200, 5400, 5400, 5800)
    assert [w.probability for w in found[0].words] == [0.5, 0.5]


def test_the_last_word_of_a_window_ends_with_it():
    window = Window.of(0, SILENCE)
    found = aligned([segment(0, 1000, 1)], sampled(1), attending(20), window, CONTENT.__getitem__)
    assert words(found)[-1][2] == 1000


def test_tokens_are_found_in_the_order_that_they_were_sampled():
    window = Window.of(0, SILENCE)
    heard = sampled(TS, 1, TS + 10, TS + 10, 1, TS + 40)
    found = aligned([segment(0, 200, 1), segment(200, 800, 1)], heard,
                    attending(0, 5, 10, 11, 30, 40), window, CONTENT.__getitem__)  # fmt: skip
    (_, first, _), (_, second, _) = words(found)
    assert (first, second) == (100, 600)


def test_times_are_the_recordings_where_a_window_has_parts():
    half = SILENCE[: SAMPLE_RATE // 2]
    window = Window((Part(0, half), Part(10 * SAMPLE_RATE, half)))
    heard = sampled(TS, 1, 2, TS + 40)
    found = aligned([segment(0, 10300, 1, 2)], heard, attending(0, 5, 30, 40), window,
                    CONTENT.__getitem__)  # fmt: skip
    assert [start for _, start, _ in words(found)] == [100, 10100]


def test_a_segment_without_tokens_has_no_words():
    window = Window.of(0, SILENCE)
    (found,) = aligned([Segment(0, 1000, " cut")], sampled(1), attending(20), window,
                       CONTENT.__getitem__)  # fmt: skip
    assert found.words == ()
