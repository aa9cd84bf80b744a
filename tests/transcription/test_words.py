"""Words as they are told make up their segment's text, and lie in its speech."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.audio.waveform import MS, SAMPLE_RATE
from app.models.base import Segment, Word
from app.speech.stretches import Stretch
from app.speech.windows import Part, Window
from app.transcription.words import InOrder, fitted, told_words

SECONDS = np.zeros(10 * SAMPLE_RATE, np.int16)


def window(*speech_ms):
    stretches = tuple(Stretch(start * MS, stop * MS) for start, stop in speech_ms)
    return Window((Part(0, SECONDS),), stretches)


def segment(*words, text=None):
    made = tuple(Word(*word) for word in words)
    return Segment(made[0].start_ms, made[-1].end_ms, text or "".join(w.text for w in made),
                   words=made)  # fmt: skip


def times(found):
    return [(word.start_ms, word.end_ms) for word in found.words]


def test_a_word_that_stretches_into_silence_is_clipped_to_its_speech():
    found = told_words(segment((0, 900, " one"), (900, 2600, " two")), window((500, 1400)))
    assert times(found) == [(500, 900), (900, 1400)]


def test_a_word_across_a_pause_is_where_most_of_it_is():
    found = told_words(segment((0, 2000, " one")), window((0, 100), (1000, 2000)))
    assert times(found) == [(1000, 2000)]


def test_the_last_word_does_not_take_what_is_said_behind_its_segment():
    """Alignment gives it all that is left of the window, which a next pass decodes."""
    words = (Word(0, 500, " one"), Word(500, 3000, " two"))
    told = told_words(Segment(0, 1000, " one two", words=words), window((0, 900), (1500, 2900)))
    assert times(told) == [(0, 500), (500, 900)]


def test_a_word_behind_its_segments_end_is_not_moved():
    words = (Word(0, 500, " one"), Word(1100, 1300, " two"))
    told = told_words(Segment(0, 1000, " one two", words=words), window((0, 2000)))
    assert times(told) == [(0, 500), (1100, 1100)]


def test_a_word_over_no_speech_stays_where_it_is():
    assert times(told_words(segment((3000, 4000, " one")), window((0, 100)))) == [(3000, 4000)]


def test_words_never_overlap():
    found = told_words(segment((0, 2000, " one"), (100, 2000, " two")), window((0, 2000)))
    assert times(found) == [(0, 2000), (2000, 2000)]


def test_words_of_a_recording_never_overlap():
    in_order = InOrder()
    first = in_order.told(segment((0, 500, " one"), (500, 1300, " two")))
    second = in_order.told(segment((1200, 1250, " three"), (1250, 1800, " four")))
    assert times(first) == [(0, 500), (500, 1300)]
    assert times(second) == [(1300, 1300), (1300, 1800)]


def test_a_segment_without_words_is_one():
    found = told_words(Segment(1000, 2000, " a loop"), window((1000, 2000)))
    assert [(w.text, w.start_ms, w.end_ms) for w in found.words] == [(" a loop", 1000, 2000)]


def test_words_follow_a_text_that_is_written_otherwise():
    told = fitted([Word(0, 1, "软"), Word(1, 2, "件"), Word(2, 3, " 好")], "軟體好")
    assert [word.text for word in told] == ["軟", "體", "好"]


def test_words_that_are_left_of_nothing_go_to_the_one_before():
    told = fitted([Word(0, 1, "我"), Word(1, 2, " "), Word(2, 3, "好")], "我好")
    assert [(word.text, word.start_ms, word.end_ms) for word in told] == [
        ("我", 0, 2),
        ("好", 2, 3),
    ]


@given(st.lists(st.text("ab好 ", min_size=1, max_size=3), min_size=1, max_size=8),
       st.text("ab好 軟", min_size=1, max_size=20))  # fmt: skip
def test_words_are_all_of_any_text(pieces, text):
    words = [Word(n, n + 1, piece) for n, piece in enumerate(pieces)]
    told = fitted(words, text)
    assert "".join(word.text for word in told) == text
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(told))
    assert told[-1].end_ms <= len(words)
