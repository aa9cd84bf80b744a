"""Subtitles of segments whose words have times."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.base import Segment, Word
from app.transcription.cues import Layout, cues
from app.transcription.line_breaks import columns

READABLE = Layout(is_for_readers=True)


def said(*words):
    """A segment of (text, start, end)."""
    told = tuple(Word(start, end, text) for text, start, end in words)
    return Segment(told[0].start_ms, told[-1].end_ms, "".join(w.text for w in told), words=told)


def evenly(text, start, each):
    """Words of a text, one after another, `each` so many milliseconds."""
    texts = re.findall(r"\s*\S+", text)
    return [(one, start + i * each, start + (i + 1) * each) for i, one in enumerate(texts)]


def shown(*segments, layout=READABLE):
    return list(cues(segments, layout))


def times(several):
    return [(cue.start_ms, cue.end_ms) for cue in several]


def lines(several):
    return [cue.lines for cue in several]


def test_a_cue_lasts_from_its_first_word_to_its_last():
    one = said(
        (" one", 100, 300), (" two", 300, 500), (" three", 3000, 3300), (" four", 3400, 3900)
    )
    found = shown(one, layout=Layout(9, 1))
    assert lines(found) == [("one two",), ("three",), ("four",)]
    assert times(found) == [(100, 500), (3000, 3300), (3400, 3900)]


def test_lines_of_chinese_go_by_the_times_of_its_characters():
    text = "今天早上大霧，西風七級。"
    words = [(one, 500 * i, 500 * i + 400) for i, one in enumerate(re.findall(r"\w\W?", text))]
    found = shown(said(*words), layout=Layout(14, 1))
    assert lines(found) == [("今天早上大霧，",), ("西風七級。",)]
    assert times(found) == [(0, 2900), (3000, 4900)]


def test_a_line_that_breaks_a_word_shares_its_time():
    found = shown(said((" so", 0, 200), (" abcdefgh", 1000, 1800)), layout=Layout(4, 1))
    assert lines(found) == [("so",), ("abcd",), ("efgh",)]
    assert times(found) == [(0, 200), (1000, 1400), (1400, 1800)]


def test_whole_segments_keep_their_own_times():
    words = (Word(300, 500, " one"), Word(500, 700, " two"))
    one = Segment(0, 900, " one two", words=words)
    assert times(shown(one, layout=Layout())) == times(shown(one, layout=Layout(4))) == [(0, 900)]


LONG = (
    " The committee will meet again on Thursday to decide how the money should be spent, and some "
    "residents would like the roads to be repaired first."
)


def test_readable_cues_change_when_the_words_do():
    before, after = LONG.split(" and")
    slow = evenly(before, 0, 400)
    found = shown(said(*slow, *evenly(" and" + after, slow[-1][2], 100)))
    assert [cue.lines[-1].split()[-1] for cue in found] == ["spent,", "first."]
    assert found[1].start_ms == found[0].end_ms == 400 * len(slow)
    assert all(len(cue.lines) <= 2 and columns(line) <= 42 for cue in found for line in cue.lines)


def test_a_short_pause_within_a_segment_does_not_flicker():
    before, after = LONG.split(" and")
    first = evenly(before, 0, 300)
    found = shown(said(*first, *evenly(" and" + after, first[-1][2] + 1000, 300)))
    assert found[0].end_ms == found[1].start_ms == first[-1][2] + 1000


def test_what_is_said_after_a_long_pause_is_not_shown_before():
    found = shown(said((" Well,", 0, 500), (" I", 4000, 4200), (" know.", 4200, 5400)))
    assert lines(found) == [("Well,",), ("I know.",)]
    assert times(found) == [(0, 1000), (4000, 5400)]


def test_no_cue_outlives_seven_seconds_where_words_are_slow():
    found = shown(said(*evenly(" One two three four five six seven eight.", 0, 2500)))
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in found)
    assert [cue.start_ms % 2500 for cue in found] == [0] * len(found)


def test_a_drawn_out_word_leaves_the_words_before_it_together():
    quick = evenly(" This is what she said before she", 0, 300)
    found = shown(said(*quick, (" sang.", quick[-1][2], quick[-1][2] + 20_000)))
    assert lines(found) == [("This is what she said before she",), ("sang.",)]
    assert times(found) == [(0, 2100), (2100, 9100)]


def test_cues_do_not_end_within_a_word_of_several_characters():
    words = [(two, 400 * i, 400 * (i + 1)) for i, two in enumerate(["求救", "藍鷺", "西風"] * 12)]
    found = shown(said(*words))
    assert len(found) > 1
    assert [cue.start_ms % 400 for cue in found] == [0] * len(found)
    assert all(len("".join(cue.lines)) % 2 == 0 for cue in found)


def test_a_repetition_that_is_one_word_is_shared_out():
    """What a decoder repeats without end is told as one word, as long as its segment."""
    found = shown(said((" no" * 60, 0, 24_000)))
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in found)
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(found))
    assert " ".join(line for cue in found for line in cue.lines).split() == ["no"] * 60


def test_a_short_cue_is_shown_for_a_second_where_nobody_speaks_sooner():
    found = shown(said((" Yes.", 0, 300)), said((" No.", 700, 900)), said((" So.", 5000, 5100)))
    assert times(found) == [(0, 700), (700, 1700), (5000, 6000)]


def test_words_without_length_are_shown_one_after_another():
    one = said((" one", 500, 500), (" two", 500, 500), (" three", 500, 500))
    found = shown(one, layout=Layout(5, 1))
    assert times(found) == [(500, 501), (501, 502), (502, 503)]


def test_a_word_that_reaches_into_the_next_segment_ends_where_that_begins():
    found = shown(said((" one", 0, 900)), said((" two", 800, 2000)), layout=Layout(9, 1))
    assert times(found) == [(0, 800), (800, 2000)]


def test_a_segment_without_words_beside_others_shares_its_time():
    bare = Segment(5000, 7000, " three four")
    found = shown(said((" one", 0, 900)), bare, layout=Layout(5, 1))
    assert lines(found) == [("one",), ("three",), ("four",)]
    assert times(found)[1:] == [(5000, found[1].end_ms), (found[1].end_ms, 7000)]


TEXTS = st.text(alphabet="ab 求，「」é.\u0301", max_size=9)
SPANS = st.tuples(TEXTS, st.integers(0, 9000), st.integers(0, 3000))
LAYOUTS = st.sampled_from([READABLE, Layout(4, 1), Layout(9, 2), Layout(30, 1)])


@given(st.lists(SPANS, min_size=1, max_size=25), LAYOUTS, st.booleans())
def test_whatever_the_words_no_letter_is_lost_and_no_cue_overlaps(spans, layout, with_space):
    words, at = [], 0
    for text, length, pause in spans:
        words.append((" " * with_space + text, at + pause, at + pause + length))
        at += pause + length
    found = shown(said(*words), layout=layout)
    assert re.sub(r"\s", "", "".join("".join(cue.lines) for cue in found)) == re.sub(
        r"\s", "", "".join(text for text, *_ in spans)
    )
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(found))
    assert all(cue.start_ms < cue.end_ms for cue in found)
    assert all(1 <= len(cue.lines) <= (layout.lines or 2) for cue in found)
    if layout.is_for_readers:
        assert max((cue.end_ms - cue.start_ms for cue in found), default=0) <= 7000


@pytest.mark.parametrize("layout", [READABLE, Layout(9, 1)])
def test_words_of_spaces_alone_are_no_cue(layout):
    assert shown(said((" ", 0, 900)), layout=layout) == []
