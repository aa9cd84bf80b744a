"""Tokens to timed segments: nothing said is lost, and no time lies outside its window."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.whisper_vllm.segments import Segmenter, compression_ratio
from app.speech.windows import Window
from app.transcription.results import Joiner, join
from tests.transcription.fakes import TS, FakeText, T

WINDOW = Window.of(5 * SAMPLE_RATE, to_pcm(np.zeros(10 * SAMPLE_RATE, np.float32)))


def letters(ids):
    return "".join(chr(97 + i % 26) for i in ids if i < T.end_of_text)


def tail_of(segmenter):
    tail = segmenter.tail()
    return [tail] if tail else []


def heard(*tokens):
    segmenter = Segmenter(WINDOW, T, letters)
    return segmenter.feed([(token, -0.2) for token in tokens]) + tail_of(segmenter)


def test_pairs_of_timestamps_bound_segments():
    first, second = heard(TS, 1, 2, TS + 50, TS + 60, 3, TS + 100)
    assert (first.start_ms, first.end_ms, first.text) == (5000, 6000, "bc")
    assert (second.start_ms, second.end_ms, second.text) == (6200, 7000, "d")


def test_an_unclosed_tail_is_kept_and_ends_with_its_window():
    _, tail = heard(TS, 1, TS + 50, TS + 60, 2, 3)
    assert (tail.text, tail.start_ms, tail.end_ms) == ("cd", 6200, 15000)


def test_text_without_any_timestamp_spans_its_window():
    (only,) = heard(1, 2)
    assert (only.start_ms, only.end_ms) == (5000, 15000)


def test_times_beyond_the_windows_end_are_drawn_in():
    (only,) = heard(TS + 400, 1, TS + 1400)
    assert (only.start_ms, only.end_ms) == (13000, 15000)


def test_silence_has_no_segments():
    assert heard() == []
    assert heard(TS) == []


TOKENS = st.lists(st.integers(0, 899) | st.integers(TS, TS + 1500), max_size=60)


@given(TOKENS)
def test_every_text_token_is_in_exactly_one_segment(ids):
    segments = heard(*ids)
    assert [i for s in segments for i in s.tokens] == [i for i in ids if i < T.end_of_text]
    assert all(s.tokens and 5000 <= s.start_ms <= s.end_ms <= 15000 for s in segments)


@given(TOKENS, st.lists(st.integers(0, 60), max_size=5))
def test_how_tokens_arrive_changes_nothing(ids, cuts):
    segmenter, told = Segmenter(WINDOW, T, letters), []
    places = sorted({0, len(ids), *(c for c in cuts if c < len(ids))})
    for start, stop in itertools.pairwise(places):
        told += segmenter.feed([(token, -0.2) for token in ids[start:stop]])
    assert told + tail_of(segmenter) == heard(*ids)


def test_logprobs_are_those_of_the_text():
    segmenter = Segmenter(WINDOW, T, letters, FakeText().content)
    (only,) = segmenter.feed([(TS, -9.0), (1, -0.1), (2, -0.2), (TS + 50, -9.0)])
    assert [(p.content, p.logprob) for p in only.logprobs] == [(b" w1", -0.1), (b" w2", -0.2)]


def test_repetition_compresses_well():
    assert compression_ratio("the ship is sinking " * 20) > 2.4 > compression_ratio("Mayday.")
    assert compression_ratio("") == 0


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([" Mayday.", " Over."], "Mayday. Over."),
        (["求救，", "這裡是藍鷺號。"], "求救，這裡是藍鷺號。"),
        (["one ", " two"], "one two"),
        (["one ", "two"], "one two"),
        (["one", "  ", " two "], "one two"),
        ([], ""),
    ],
)
def test_pieces_join_without_doubled_or_invented_spaces(pieces, text):
    assert join(pieces) == text


@given(st.lists(st.text(" a求。", max_size=4)))
def test_a_joiner_told_piece_by_piece_gives_the_same_text(pieces):
    joiner = Joiner()
    text = "".join(joiner.add(piece) for piece in pieces)
    assert text == join(pieces) == text.strip()
    assert text.replace(" ", "") == "".join(pieces).replace(" ", "")
