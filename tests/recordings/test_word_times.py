"""Errors of words' times are of the words that were heard as they were said."""

import json

import pytest

from app.recordings.read import recordings
from app.recordings.word_times import TimedWord, matches, start_errors, word_times


def timed(*words):
    return [TimedWord(start, start + 0.1, text) for start, text in words]


def test_words_that_are_heard_otherwise_have_no_error():
    said = timed((0.0, "The"), (0.5, "grey"), (1.0, "cat"))
    heard = timed((0.1, "the"), (0.5, "great"), (1.3, "cat."))
    assert start_errors(said, heard, "en") == pytest.approx([0.1, 0.3])


def test_words_that_are_put_in_or_left_out_leave_the_others_matched():
    assert matches(["a", "b", "c", "d"], ["b", "x", "d"], "en") == [(1, 0), (3, 2)]


def test_chinese_is_matched_in_either_script():
    assert matches(["體", "育"], ["体", "育"], "zh") == [(0, 0), (1, 1)]


def test_errors_are_summed_up_in_milliseconds():
    found = word_times([0.01, 0.02, 0.03], said=4)
    assert (found.words, found.said, found.median_ms) == (3, 4, 20.0)
    assert found.p95_ms == pytest.approx(29, abs=0.1)
    assert word_times([], said=4) is None


def test_a_manifest_may_tell_the_times_of_words(tmp_path):
    row = {"audio": "a.wav", "text": "one two", "words": [[0.1, 0.2, "one"], [0.3, 0.4, "two"]]}
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row), "utf-8")
    (clip,) = recordings(tmp_path, "en")
    assert clip.words == (TimedWord(0.1, 0.2, "one"), TimedWord(0.3, 0.4, "two"))
