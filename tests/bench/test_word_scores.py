"""The score of words: which are compared, how far off they are, and what else is wrong."""

import math

import numpy as np
import pytest

from bench.recordings import Case, Sentence
from bench.transcribers import Heard
from bench.word_recordings import Timed
from bench.word_scores import off, score, text_of, total


def words(*several):
    return tuple(Sentence(*one) for one in several)


def recording(*several, seconds=3.0, language="en"):
    said = words(*several)
    text = text_of(said, language)
    sentence = Sentence(said[0].start, said[-1].end, text)
    samples = np.zeros(int(seconds * 16_000), np.float32)
    return Timed("clean", Case("one", samples, (sentence,), language), said)


def heard(*several, text=None):
    said = words(*several)
    whole = "".join(word.text for word in said) if text is None else text
    return Heard((Sentence(0, 1, whole),), "en", 1.0, words=said)


HELLO = recording((0.1, 0.5, "Hello,"), (0.6, 0.9, "Mr."), (1.0, 1.4, "Smith."), seconds=1.5)


def test_words_that_are_the_same_are_compared_whatever_their_case_and_punctuation():
    one = score(HELLO, heard((0.0, 0.5, " hello"), (0.7, 1.0, " Mister"), (1.0, 1.3, " smith!")))
    assert (one.said, one.matched) == (3, 3)
    assert one.starts == pytest.approx((-0.1, 0.1, 0))
    assert one.ends == pytest.approx((0, 0.1, -0.1))
    assert one.late == pytest.approx(0)


def test_a_word_that_is_heard_as_another_is_not_compared():
    one = score(HELLO, heard((0.1, 0.5, " Hello"), (0.6, 0.9, " Mr."), (9.0, 9.9, " Smythe")))
    assert (one.said, one.matched, len(one.starts), one.missing) == (3, 2, 2, 0)


def test_a_word_of_two_begins_with_the_first_and_ends_with_the_last():
    well = recording((0.1, 0.6, "well-known"), seconds=1.0)
    one = score(well, heard((0.2, 0.3, " well"), (0.3, 0.4, "-"), (0.4, 0.7, "known")))
    assert one.matched == 1
    assert one.starts == pytest.approx((0.1,))
    assert one.ends == pytest.approx((0.1,))


def test_characters_are_compared_in_chinese_in_either_script():
    said = recording((0.1, 0.2, "動"), (0.2, 0.3, "物"), (0.3, 0.5, "園"), language="zh")
    one = score(said, heard((0.2, 0.4, "动物"), (0.4, 0.5, "园")))
    assert one.matched == 3
    assert one.starts == pytest.approx((0.1, 0.1))
    assert one.ends == pytest.approx((0.1, 0))


def test_words_that_are_left_out_and_said_twice_are_counted():
    assert score(HELLO, heard((0.1, 0.5, " Hello"))).missing == 2
    twice = [(0.1, 0.5, " Hello"), (0.5, 0.6, " Hello"), (0.6, 0.9, " Mr."), (1, 1.4, " Smith")]
    assert score(HELLO, heard(*twice)).twice == 1


def test_times_that_overlap_or_go_back_are_counted():
    one = score(HELLO, heard((0.1, 0.7, " Hello"), (0.6, 0.9, " Mr."), (1.0, 1.4, " Smith")))
    assert (one.overlapping, one.backward) == (1, 0)
    one = score(HELLO, heard((0.6, 0.8, " Hello"), (0.5, 0.9, " Mr."), (1.4, 1.0, " Smith")))
    assert (one.overlapping, one.backward) == (1, 2)
    one = score(HELLO, heard((0.1, 0.6, " Hello"), (0.6, 0.9, " Mr."), (0.9, 1.4, " Smith")))
    assert (one.overlapping, one.backward) == (0, 0)


def test_words_in_and_over_half_a_second_of_silence_are_counted():
    apart = recording((0.1, 0.5, "Hello,"), (1.5, 1.9, "Smith."), seconds=4.0)
    assert apart.gaps == [(0.5, 1.5), (1.9, 4.0)]

    def both(*several):
        one = score(apart, heard(*several))
        return one.in_a_gap, one.over_a_gap

    assert both((0.1, 0.5, " Hello"), (1.5, 1.9, " Smith")) == (0, 0)
    assert both((0.1, 0.5, " Hello"), (1.5, 1.9, " Smith"), (3.0, 3.0, " you")) == (1, 0)
    assert both((0.1, 0.5, " Hello"), (0.8, 2.2, " Smith")) == (0, 1)


def test_words_that_are_not_the_text_are_counted():
    said = [(0.1, 0.5, " Hello"), (0.6, 0.9, "Mr."), (1.0, 1.4, " Smith")]
    assert score(HELLO, heard(*said, text=" Hello, Mr. Smith.")).unlike == 0
    assert score(HELLO, heard(*said, text=" Hello, Mr. Smith. Good day.")).unlike == 1
    assert score(HELLO, heard(*said, text=" Hello, Smith.")).unlike == 1


def test_scores_of_several_recordings_are_added():
    one = score(HELLO, heard((0.1, 0.5, " Hello"), (0.6, 0.9, " Mr."), (1.1, 1.4, " Smith")))
    both = total([one, one])
    assert (both.said, both.matched, len(both.starts)) == (6, 6, 6)
    assert off(both.starts, 0.5) == pytest.approx(0)
    assert off(both.starts, 1) == pytest.approx(0.1)


def test_nothing_heard_has_no_times():
    one = score(HELLO, heard())
    assert (one.matched, one.missing) == (0, 3)
    assert math.isnan(off(one.starts, 0.5))
    assert math.isnan(one.late)
