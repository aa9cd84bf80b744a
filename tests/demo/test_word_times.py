"""When words are said is found by the sounds of a voice, and the recordings' manifest says it."""

import json
from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from scipy import signal

from app.audio.decode import decode
from demo.voices import plan
from demo.voices.conditions import CONDITIONS, RATE
from demo.voices.files import write
from demo.voices.timing import Sound, heard, in_time, word_times
from harness.server import DEMO

FOLDER = DEMO / "recordings" / "words"
ROWS = [json.loads(line) for line in (FOLDER / "manifest.jsonl").read_text("utf-8").splitlines()]
CLEAN = [row for row in ROWS if row["condition"] == "clean"]
ALONE = {"in": "ˈɪn", "the": "ðə", "end,": "ˈɛnd,", "out": "ˈaʊt", "of": "ʌv", "a": "ɐ"}


def said(text, begin=0.0):
    """A tenth of a second for each sound."""
    return list(in_time([(sound, 0.1) for sound in text], begin))


def names(row):
    return row["audio"].removesuffix(".ogg")


def found(words, sounds):
    times = word_times(words.split(), sounds, ALONE.__getitem__)
    return times and [(round(start, 3), round(end, 3), word) for start, end, word in times]


def test_a_word_lasts_from_its_first_phoneme_to_its_last():
    assert found("the end,", said("^ðə ˈɛnd,$")) == [(0.1, 0.3, "the"), (0.4, 0.8, "end,")]


def test_words_that_are_said_as_one_are_cut_between_their_phonemes():
    assert found("in the end,", said("ɪnðə ˈɛnd")) == [
        (0.0, 0.2, "in"),
        (0.2, 0.4, "the"),
        (0.5, 0.9, "end,"),
    ]
    assert found("out of a", said("ˌaʊɾəvɐ"))[1:] == [(0.4, 0.6, "of"), (0.6, 0.7, "a")]


def test_a_word_that_is_said_as_several_is_not_found():
    assert found("end,", said("ˈɛnd ˈɛnd")) is None


def test_words_that_are_not_said_are_not_found():
    assert found("the end,", said("ˈuːp ʃʃʃʃ")) is None
    assert found("the end,", said("")) is None


def test_a_word_without_length_is_not_found():
    assert found("in", [Sound("ɪ", 0.1, 0.1), Sound("n", 0.1, 0.11)]) is None


def test_sounds_before_a_pause_end_where_they_fade():
    samples = np.zeros(RATE, np.float32)
    samples[: RATE * 7 // 20] = 1  # 0.35 s
    ends = [sound.end for sound in heard(said("ðəðə, ðə"), samples)]
    assert ends[:4] == pytest.approx([0.1, 0.2, 0.3, 0.35], abs=0.001)
    assert ends[-2] == pytest.approx(0.7)


def test_sounds_lie_within_their_recording():
    samples = np.ones(RATE // 5, np.float32)
    sounds = list(heard(said("ððððð", -0.15), samples))
    assert [one.start for one in sounds] == pytest.approx([0, 0, 0.05, 0.15, 0.2])
    assert [one.end for one in sounds] == pytest.approx([0, 0.05, 0.15, 0.2, 0.2])


@pytest.mark.parametrize("row", ROWS, ids=names)
def test_words_lie_one_behind_the_other_in_their_sentences(row):
    assert all(start < end for start, end, _ in row["words"])
    assert all(one[1] <= other[0] for one, other in pairwise(row["words"]))
    for start, end, text in row["segments"]:
        within = [word for word in row["words"] if start <= word[0] and word[1] <= end]
        assert "".join(word for _, _, word in within) == spoken(text, row["language"])
    assert row["segments"][-1][1] <= row["duration"]


def spoken(text, language):
    """What of a text has a time."""
    marks = "，。？、！：" if language == "zh" else " "
    return "".join(letter for letter in text if letter not in marks)


def test_there_are_three_thousand_clean_words_of_english_and_some_of_mandarin():
    counts = Counter(row["language"] for row in CLEAN for _ in row["words"])
    assert counts["en"] >= 3000
    assert counts["zh"] >= 400


def test_they_are_small_and_all_of_them_are_named():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 4e6
    assert {path.name for path in FOLDER.glob("*.ogg")} == {row["audio"] for row in ROWS}


def test_their_sentences_are_those_of_the_texts():
    texts = {
        text
        for split, language in (*((s, "en") for s in (*plan.SPLITS, "words")), ("judge", "zh"))
        for paragraph in plan.paragraphs(split, language)
        for text in paragraph
    }
    assert {text for row in ROWS for _, _, text in row["segments"]} <= texts


def test_every_condition_has_the_words_and_times_of_the_clean_recording():
    level, *_ = CLEAN
    others = [row for row in ROWS if row["condition"] != "clean"]
    assert {row["condition"] for row in others} == CONDITIONS.keys() - {"clean"}
    for row in others:
        assert row["words"] == level["words"][: len(row["words"])]


@pytest.mark.parametrize("row", CLEAN, ids=names)
def test_a_sentence_gets_loud_where_its_first_word_begins(row):
    """A recording is as long as its manifest says, and nine in ten are as near as 40 ms."""
    with (FOLDER / row["audio"]).open("rb") as file:
        samples = np.abs(decode(file, max_seconds=3600).samples)
    assert len(samples) / RATE == pytest.approx(row["duration"], abs=0.001)
    off = [early(samples, row["words"], *times[:2]) for times in row["segments"]]
    assert abs(np.median(off)) < 0.01
    assert np.mean(np.abs(off) < 0.04) > 0.9


def early(samples, words, start, end):
    """Seconds from a sentence's first word to where it gets loud."""
    first = next(begin for begin, _, _ in words if begin >= start)
    begin = max(0, int((start - 0.1) * RATE))
    part = samples[begin : int(end * RATE)]
    return (begin + np.flatnonzero(part > 0.02 * part.max())[0]) / RATE - first


def test_opus_delays_no_word(tmp_path):
    samples = hiss()
    write(tmp_path / "one.ogg", samples)
    with (tmp_path / "one.ogg").open("rb") as file:
        decoded = decode(file, max_seconds=9).samples
    assert len(decoded) == len(samples)
    assert abs(delay(decoded, samples)) <= 1


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_a_condition_delays_no_word_by_two_milliseconds(name):
    samples = hiss()
    assert abs(delay(CONDITIONS[name](samples, Random(1)), samples)) <= 0.002 * RATE


def hiss():
    """Four seconds of noise up to 3 kHz, the first two of them silent."""
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE) * (np.arange(4 * RATE) >= 2 * RATE)
    low = signal.butter(4, 3000, fs=RATE, output="sos")
    return signal.sosfilt(low, noise).astype(np.float32)


def delay(later, samples):
    """Samples, where the two are most alike."""
    alike = signal.correlate(later, samples, "full", method="fft")
    return int(np.argmax(alike)) - (len(samples) - 1)
