"""The recordings of neural voices and of readers: what their manifests say of them is so."""

import io
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from opencc import OpenCC

from app.audio.decode import decode
from app.recordings.read import read, recordings
from app.recordings.spec import Recordings
from demo.voices import plan
from demo.voices.conditions import CONDITIONS, RATE
from demo.voices.files import write
from demo.voices.joining import LONGEST, joined
from harness.server import DEMO

FOLDERS = {
    "calibration": DEMO / "recordings" / "voices" / "calibration",
    "judge": DEMO / "recordings" / "voices" / "judge",
    "readers": DEMO / "recordings" / "readers",
    "languages": DEMO / "recordings" / "languages",
}
PLANNED = {
    **{split: list(plan.clips(split)) for split in plan.SPLITS},
    "languages": list(plan.further()),
}
COUNTS = {"calibration": 360, "judge": 336, "readers": 12, "languages": 12}
MEGABYTES = {"calibration": 12, "judge": 12, "readers": 0.5, "languages": 0.5}
LANGUAGES = {"en", "es", "fr", "ja", "zh"}
FURTHER = {"hi", "it", "pt"}


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
    assert {path.name for path in FOLDERS[name].glob("*.ogg")} == named


@pytest.mark.parametrize("split", PLANNED)
def test_they_are_the_clips_that_the_recipe_plans(split):
    for row, clip in zip(rows(split), PLANNED[split], strict=True):
        said = [text for _, _, text in row["segments"]]
        assert said == [reading.text for reading in clip.readings][: len(said)]
        assert {(one.language, one.voice) for one in clip.readings} == {
            (row["language"], row["voice"])
        }
        assert row["condition"] == clip.condition


@pytest.mark.parametrize("split", plan.SPLITS)
def test_several_languages_and_every_condition_are_among_them(split):
    assert {row["language"] for row in rows(split)} == LANGUAGES
    for language in LANGUAGES:
        heard = {row["condition"] for row in rows(split) if row["language"] == language}
        assert heard == set(CONDITIONS)


def test_further_languages_have_four_clean_clips_each_and_are_in_no_split():
    by_language = Counter(row["language"] for row in rows("languages"))
    assert by_language == dict.fromkeys(FURTHER, 4)
    assert not FURTHER & LANGUAGES
    assert {row["condition"] for row in rows("languages")} == {"clean"}


@pytest.mark.parametrize("split", PLANNED)
def test_sentences_lie_in_their_clip_one_behind_the_other(split):
    for row in rows(split):
        times = [(start, end) for start, end, _ in row["segments"]]
        assert all(start < end for start, end in times)
        assert all(one[1] <= other[0] for one, other in pairwise(times))
        assert times[0][0] >= 0
        assert times[-1][1] <= row["duration"] <= 30
        assert all(round(at * 50, 6).is_integer() for pair in times for at in pair)


@pytest.mark.parametrize("split", PLANNED)
def test_the_words_are_the_sentences(split):
    for row in rows(split):
        between = "" if row["language"] in ("ja", "zh") else " "
        assert row["text"] == between.join(text for _, _, text in row["segments"])


def test_no_sentence_that_judges_was_calibrated_on():
    assert not sentences("calibration") & sentences("judge")
    assert not sentences("calibration") & sentences("languages")
    assert not sentences("calibration") & {row["text"] for row in rows("readers")}


def test_only_joe_and_the_one_french_voice_do_both():
    calibrated, judged = ({row["voice"] for row in rows(split)} for split in plan.SPLITS)
    assert calibrated & judged == {plan.JOE, "ff_siwis"}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_clip_decodes_to_the_length_that_its_manifest_says(name):
    for clip, row in list(zip(recordings(FOLDERS[name], ""), rows(name), strict=True))[::60]:
        assert clip.waveform().seconds == pytest.approx(row["duration"], abs=0.03)


@pytest.mark.parametrize("split", PLANNED)
def test_speech_lies_where_the_manifest_says(split):
    clean = [row for row in rows(split) if row["condition"] == "clean"]
    quiet = clean[:: 20 if len(clean) > 20 else 1]
    for row in quiet:
        (clip,) = (c for c in recordings(FOLDERS[split], "") if c.name == row["audio"])
        samples = np.abs(clip.waveform().samples)
        spoken = np.zeros(len(samples), bool)
        for start, end, _ in row["segments"]:
            spoken[int((start - 0.02) * RATE) if start else 0 : int((end + 0.02) * RATE)] = True
        assert samples[~spoken].max(initial=0) < 0.1 * samples.max()
        for start, end, _ in row["segments"]:
            assert samples[int(start * RATE) : int(end * RATE)].max() > 0.3 * samples.max()


def test_two_hundred_and_fifty_six_of_a_mix_are_there_to_calibrate_on():
    wanted = Recordings(sources=str(FOLDERS["calibration"]), samples=256)
    clips = read(wanted)
    assert len(clips) == 256
    assert {clip.language for clip in clips} == LANGUAGES


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


@pytest.mark.parametrize("name", ["0.ogg", "0.mp3"])
def test_a_recording_is_written_with_the_same_bytes_again(name, tmp_path):
    samples = np.sin(np.arange(2 * RATE) / 9).astype(np.float32)
    codec = {".ogg": "libopus", ".mp3": "libmp3lame"}[Path(name).suffix]
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / name, samples, codec)
    one, other = ((tmp_path / folder / name).read_bytes() for folder in ("one", "other"))
    assert one == other
    assert decode(io.BytesIO(one), max_seconds=9).seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("split", plan.SPLITS)
def test_chinese_is_written_as_in_taiwan_with_an_english_word_now_and_then(split):
    several = [text for paragraph in plan.paragraphs(split, "zh") for text in paragraph]
    traditional = OpenCC("s2tw").convert
    other = {a for text in several for a, b in zip(text, traditional(text), strict=True) if a != b}
    assert other <= set("台布")  # both of them are written there
    mixed = [text for text in several if re.search("[A-Za-z]", text)]
    assert 0.05 < len(mixed) / len(several) < 0.2
