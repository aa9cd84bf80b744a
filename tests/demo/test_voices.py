"""The recordings of neural voices and of readers: what their manifests say of them is so."""

import json
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from app.recordings.read import read, recordings
from app.recordings.spec import Recordings
from demo.voices import plan
from demo.voices.conditions import CONDITIONS, RATE
from demo.voices.joining import LONGEST, joined
from harness.server import DEMO

FOLDERS = {
    "calibration": DEMO / "recordings" / "voices" / "calibration",
    "judge": DEMO / "recordings" / "voices" / "judge",
    "readers": DEMO / "recordings" / "readers",
}
COUNTS = {"calibration": 360, "judge": 336, "readers": 12}
MEGABYTES = {"calibration": 12, "judge": 12, "readers": 0.5}
LANGUAGES = {"en", "es", "fr", "ja", "zh"}


def rows(name):
    lines = (FOLDERS[name] / "manifest.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def sentences(split):
    return {text for row in rows(split) for _, _, text in row["segments"]}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_recording_is_read_with_its_words(name):
    clips = list(recordings(FOLDERS[name], "xx"))
    assert len(clips) == COUNTS[name]
    assert [clip.text for clip in clips] == [row["text"] for row in rows(name)]
    assert "xx" not in {clip.language for clip in clips}


@pytest.mark.parametrize("name", FOLDERS)
def test_they_are_small(name):
    size = sum(path.stat().st_size for path in FOLDERS[name].iterdir())
    assert size <= MEGABYTES[name] * 1e6


@pytest.mark.parametrize("name", FOLDERS)
def test_every_recording_is_named_by_the_manifest(name):
    named = {row["audio"] for row in rows(name)}
    assert {path.name for path in FOLDERS[name].iterdir()} == named | {"manifest.jsonl"}


@pytest.mark.parametrize("split", plan.SPLITS)
def test_they_are_the_clips_that_the_recipe_plans(split):
    planned = [
        (c.readings[0].language, c.readings[0].voice, c.condition) for c in plan.clips(split)
    ]
    assert [(r["language"], r["voice"], r["condition"]) for r in rows(split)] == planned


@pytest.mark.parametrize("split", plan.SPLITS)
def test_several_languages_and_every_condition_are_among_them(split):
    assert {row["language"] for row in rows(split)} == LANGUAGES
    for language in LANGUAGES:
        heard = {row["condition"] for row in rows(split) if row["language"] == language}
        assert heard == set(CONDITIONS)


@pytest.mark.parametrize("split", plan.SPLITS)
def test_sentences_lie_in_their_clip_one_behind_the_other(split):
    for row in rows(split):
        times = [(start, end) for start, end, _ in row["segments"]]
        assert all(start < end for start, end in times)
        assert all(one[1] <= other[0] for one, other in pairwise(times))
        assert times[0][0] >= 0
        assert times[-1][1] <= row["duration"] <= 30
        assert all(round(at * 50, 6).is_integer() for pair in times for at in pair)


@pytest.mark.parametrize("split", plan.SPLITS)
def test_the_words_are_the_sentences(split):
    for row in rows(split):
        between = "" if row["language"] in ("ja", "zh") else " "
        assert row["text"] == between.join(text for _, _, text in row["segments"])


def test_no_sentence_that_judges_was_calibrated_on():
    assert not sentences("calibration") & sentences("judge")
    assert not sentences("calibration") & {row["text"] for row in rows("readers")}


def test_only_joe_and_the_one_french_voice_do_both():
    calibrated, judged = ({row["voice"] for row in rows(split)} for split in plan.SPLITS)
    assert calibrated & judged == {plan.JOE, "ff_siwis"}


@pytest.mark.parametrize("split", plan.SPLITS)
def test_a_clip_decodes_to_the_length_that_its_manifest_says(split):
    for clip, row in list(zip(recordings(FOLDERS[split], ""), rows(split), strict=True))[::60]:
        assert clip.waveform().seconds == pytest.approx(row["duration"], abs=0.03)


@pytest.mark.parametrize("split", plan.SPLITS)
def test_speech_lies_where_the_manifest_says(split):
    quiet = [row for row in rows(split) if row["condition"] == "clean"][::20]
    for row in quiet:
        (clip,) = (c for c in recordings(FOLDERS[split], "") if c.name == row["audio"])
        samples = np.abs(clip.waveform().samples)
        spoken = np.zeros(len(samples), bool)
        for start, end, _ in row["segments"]:
            spoken[int((start - 0.02) * RATE) if start else 0 : int((end + 0.02) * RATE)] = True
        assert samples[~spoken].max(initial=0) < 0.1 * samples.max()


def test_two_hundred_and_fifty_six_of_a_mix_are_there_to_calibrate_on():
    wanted = Recordings(sources=str(FOLDERS["calibration"]), samples=256)
    assert {clip.language for clip in read(wanted)} == LANGUAGES


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_depends_on_the_seed_alone_and_keeps_the_length(name):
    samples = np.sin(np.arange(2 * RATE) / 9).astype(np.float32)
    one, same, other = (CONDITIONS[name](samples.copy(), Random(seed)) for seed in (1, 1, 2))
    assert len(one) == len(samples)
    assert one.dtype == np.float32
    assert np.array_equal(one, same)
    assert np.array_equal(one, other) == (name == "clean")
    assert np.abs(one).max() <= 1


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_a_condition_leaves_the_speech_where_it_is(name):
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE : RATE + 1600] = np.sin(np.arange(1600) / 2)
    heard = np.abs(CONDITIONS[name](samples, Random(3)))
    loud = np.flatnonzero(heard > 0.5 * heard.max())
    assert loud[0] == pytest.approx(RATE, abs=0.01 * RATE)


def test_a_telephone_carries_no_high_notes():
    times = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * hertz * times).astype(np.float32) for hertz in (1000, 6000))
    spectrum = np.abs(np.fft.rfft(CONDITIONS["telephone"](low + high, Random(1))))
    assert spectrum[6000] < 0.01 * spectrum[1000]


def test_sentences_are_joined_where_they_say_and_what_is_too_long_is_left_out():
    several = [(str(n), np.full(6 * RATE + 7, n, np.float32)) for n in range(1, 8)]
    samples, segments = joined(several, Random(1))
    assert 20 < segments[-1][1] <= LONGEST
    for start, end, text in segments:
        middle = samples[int(start * RATE) : int(end * RATE)]
        assert set(middle[: 6 * RATE]) == {float(text)}


def test_the_plan_is_the_same_each_time():
    assert plan.clips("judge") == plan.clips("judge")
