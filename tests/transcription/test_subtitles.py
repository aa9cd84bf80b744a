"""Subtitles: integer times, lines no wider than asked, every word shown once."""

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.models.base import Segment, WindowFigures
from app.transcription.cues import Layout, cues
from app.transcription.line_breaks import columns, wrap
from app.transcription.subtitles import srt, vtt

FIGURES = WindowFigures(0, 0.0, -0.1, 1.0, 0.01)
PLAIN = Layout()
READABLE = Layout(is_for_readers=True)


def segment(start, end, text):
    return Segment(start, end, text, (5,), figures=FIGURES)


TWO = [segment(0, 1999, " Mayday."), segment(3_600_001, 3_661_100, " 求救，求救。")]


def test_srt_numbers_its_cues_and_separates_milliseconds_by_a_comma():
    assert srt(TWO, PLAIN) == (
        "1\n00:00:00,000 --> 00:00:01,999\nMayday.\n\n"
        "2\n01:00:00,001 --> 01:01:01,100\n求救，求救。\n\n"
    )


def test_vtt_has_its_header_and_separates_milliseconds_by_a_point():
    assert vtt(TWO, PLAIN) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.999\nMayday.\n\n"
        "01:00:00.001 --> 01:01:01.100\n求救，求救。\n\n"
    )


def test_nothing_said_is_a_valid_file():
    assert srt([], PLAIN) == ""
    assert vtt([], PLAIN) == "WEBVTT\n\n"


def test_what_would_be_markup_is_escaped():
    odd = [segment(0, 900, " a --> b <i> & c")]
    assert "a -> b <i> & c" in srt(odd, PLAIN)
    assert "a --&gt; b &lt;i&gt; &amp; c" in vtt(odd, PLAIN)


def test_a_segment_without_length_still_shows():
    (cue,) = cues([segment(500, 500, "so")], PLAIN)
    assert cue.end_ms > cue.start_ms


def test_latin_breaks_at_spaces():
    text = "This is sailing vessel Blue Heron."
    assert wrap(text, 16) == ["This is sailing", "vessel Blue", "Heron."]


def test_chinese_breaks_between_characters_but_keeps_marks_where_they_belong():
    lines = ["求救，求", "救，這裡是", "帆船藍鷺", "號。"]
    assert wrap("求救，求救，這裡是帆船藍鷺號。", 10) == lines
    assert wrap("他說「求救」了", 6) == ["他說", "「求", "救」了"]


def test_mixed_text_breaks_where_either_may():
    assert wrap("這裡是Blue Heron號", 10) == ["這裡是Blue", "Heron號"]


def test_a_word_wider_than_a_line_is_broken():
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


LETTERS = st.text(alphabet="ab 求救，。「」é.\u0301", max_size=40)


@given(LETTERS, st.integers(4, 20))
def test_no_line_is_wider_than_asked_and_no_letter_is_lost(text, width):
    lines = wrap(text, width)
    assert all(line and columns(line) <= width for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


@example("\u0301", 4, 1, 2)  # a mark that combines with nothing: no width
@given(LETTERS.filter(str.strip), st.integers(4, 20), st.integers(1, 3), st.integers(0, 5000))
def test_cues_share_their_segments_time_without_gap_or_overlap(text, width, lines, length):
    shown = list(cues([segment(1000, 1000 + length, text)], Layout(width, lines)))
    assert shown[0].start_ms == 1000
    assert shown[-1].end_ms == max(1000 + length, 1000 + len(shown))
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(shown))
    assert all(cue.end_ms > cue.start_ms and 0 < len(cue.lines) <= lines for cue in shown)


def test_a_longer_line_is_shown_for_longer():
    first, second = cues([segment(0, 6000, "one two three four five")], Layout(18, 1))
    assert (first.lines, second.lines) == (("one two three four",), ("five",))
    assert first.end_ms == pytest.approx(6000 * 18 / 22, abs=2)


LONG = (
    " The committee will meet again on Thursday to decide how the money should be spent, and some "
    "residents would like the roads to be repaired first."
)


def test_a_long_segment_is_shown_in_cues_that_can_be_read():
    shown = list(cues([segment(0, 9000, LONG)], READABLE))
    assert len(shown) == 2
    assert all(len(cue.lines) <= 2 for cue in shown)
    assert all(columns(line) <= 42 for cue in shown for line in cue.lines)
    assert shown[0].lines[-1].endswith("spent,")
    assert " ".join(line for cue in shown for line in cue.lines) == LONG.strip()


def test_chinese_lines_have_sixteen_characters():
    text = "今天早上大霧，西風七級，所有船隻請注意安全，不要離開港口。" * 2
    shown = list(cues([segment(0, 12_000, text)], READABLE))
    assert all(len(line) <= 16 for cue in shown for line in cue.lines)
    assert "".join(line for cue in shown for line in cue.lines) == text


def test_no_cue_outlives_seven_seconds():
    slow = list(cues([segment(0, 20_000, " One, two, three, four, five.")], READABLE))
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in slow)
    (word,) = cues([segment(0, 20_000, " Silence.")], READABLE)
    assert (word.start_ms, word.end_ms) == (0, 7000)


def test_a_short_cue_is_shown_for_a_second_where_nobody_speaks_sooner():
    first, second = cues([segment(0, 300, " Yes."), segment(5000, 5200, " No.")], READABLE)
    assert (first.end_ms, second.end_ms) == (1000, 6000)
    first, _ = cues([segment(0, 300, " Yes."), segment(400, 5200, " No.")], READABLE)
    assert first.end_ms == 400


def test_a_full_cue_is_shown_for_as_long_as_it_takes_to_read():
    (cue,) = cues([segment(0, 500, " " + "word " * 12)], READABLE)
    assert cue.end_ms == pytest.approx(59 * 1000 / 20, abs=60)


@given(LETTERS.filter(str.strip), st.integers(0, 30_000), st.integers(0, 3000))
def test_readable_cues_lose_no_letter_and_do_not_overlap(text, length, pause):
    two = [segment(0, length, text), segment(length + pause, 2 * length + pause, text)]
    shown = list(cues(two, READABLE))
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(shown) if length > 100)
    assert all(1 <= len(cue.lines) <= 2 for cue in shown)
    told = "".join("".join(cue.lines) for cue in shown)
    assert re.sub(r"\s", "", told) == re.sub(r"\s", "", text) * 2
