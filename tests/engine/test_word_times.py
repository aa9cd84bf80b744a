"""Words through the real engine: where each is said, and by what."""

import json
import shutil
import subprocess
import sys
from dataclasses import astuple
from itertools import pairwise

import httpx
import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.recordings.read import recordings
from app.recordings.word_times import TimedWord, start_errors, word_times
from tests.engine.conftest import MAYDAY, RECORDINGS
from tests.engine.test_transcription import metric, post
from tests.sound import encode, silence

WORDS = RECORDINGS / "words"
ASKED = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}


def heard(answer):
    return [TimedWord(one["start"], one["end"], one["word"]) for one in answer["words"]]


def text_of(words):
    return " ".join(word.text for word in words)


@pytest.fixture(scope="module")
def clips():
    """English that is read on, clean, in a room and over a telephone, whose words have exact
    times."""
    wanted = {"others.ogg", "room.ogg", "telephone.ogg"}
    return [clip for clip in recordings(WORDS, "en") if clip.name in wanted]


def test_words_are_where_they_are_said(packed, clips):
    errors, said = [], 0
    for clip in clips:
        answer = post(packed, clip.audio.read_bytes(), **ASKED).json()
        errors += start_errors(clip.words, heard(answer), "en")
        said += len(clip.words)
    found = word_times(errors, said)
    assert found.words > 0.9 * said
    assert found.median_ms < 60
    assert found.p95_ms < 250


def test_every_word_of_the_text_is_there_once_and_in_order(packed, clips):
    answer = post(packed, clips[0].audio.read_bytes(), **ASKED).json()
    assert text_of(heard(answer)) == answer["text"]
    assert all(a.end <= b.start for a, b in pairwise(heard(answer)))
    assert all(0 < one["probability"] <= 1 for one in answer["words"])
    assert all(one.start <= one.end for one in heard(answer))


def test_words_change_nothing_of_the_text(packed, clips):
    plain = post(packed, clips[0].audio.read_bytes(), response_format="verbose_json").json()
    with_words = post(packed, clips[0].audio.read_bytes(), **ASKED).json()
    assert with_words["segments"] == plain["segments"]


def test_silence_has_no_words(packed):
    answer = post(packed, encode(silence(3)), **ASKED).json()
    assert (answer["text"], answer["words"]) == ("", [])


def test_a_recording_that_stops_within_a_word_ends_its_last_word_with_itself(packed, clips):
    with clips[0].audio.open("rb") as file:
        samples = decode(file, max_seconds=600).samples
    third = clips[0].words[2]
    middle = int((third.start + third.end) / 2 * SAMPLE_RATE)
    answer = post(packed, encode(samples[:middle]), **ASKED).json()
    assert answer["words"]
    assert answer["words"][-1]["end"] <= middle / SAMPLE_RATE + 0.01


def test_the_demo_has_word_times_too(server):
    answer = post(server, MAYDAY.read_bytes(), **ASKED).json()
    assert text_of(heard(answer)) == answer["text"]
    assert answer["words"][0]["start"] < 1


def test_alignment_is_measured_where_words_are_asked_for(server):
    before = metric(server, "marlinscribe_alignment_duration_seconds_count")
    post(server, MAYDAY.read_bytes())
    assert metric(server, "marlinscribe_alignment_duration_seconds_count") == before
    post(server, MAYDAY.read_bytes(), **ASKED)
    assert metric(server, "marlinscribe_alignment_duration_seconds_count") > before


def test_models_tell_what_words_are_aligned_by(server):
    answer = httpx.get(f"{server.url}/v1/models").json()
    assert answer["data"][0]["marlinscribe"]["alignment"]["source"] == "default"


def test_recorded_attention_is_that_of_a_second_pass(tmp_path):
    """The queries and keys of vLLM's decoding give the weights that transformers computes of the
    same tokens."""
    file = tmp_path / "attention.npz"
    command = [sys.executable, "-m", "tests.engine.attention", str(file)]
    subprocess.run(command, check=True, timeout=300)
    found = np.load(file)
    recorded, expected = found["recorded"], found["expected"]
    assert recorded.shape == expected.shape
    assert np.abs(recorded - expected).max() < 0.05
    assert (recorded.argmax(axis=-1) == expected.argmax(axis=-1)).mean() > 0.9


@pytest.mark.usefixtures("packed")
def test_heads_are_chosen_for_a_checkpoint(tmp_path, packed_cache, clips):
    """OpenAI's list for tiny.en is not the best there is: the command finds another, which serves
    from then on."""
    (found,) = (packed_cache / "sources").glob("*tiny.en*/config.json")
    folder = shutil.copytree(found.parent, tmp_path / "checkpoint")
    generation = json.loads((folder / "generation_config.json").read_text("utf-8"))
    generation["alignment_heads"] = generation["alignment_heads"][1:]  # not what we know of
    (folder / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    rows = [
        {"audio": str(clip.audio), "text": clip.text, "words": list(map(astuple, clip.words))}
        for clip in clips[:2]
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    command = [sys.executable, "-m", "app", "align-heads", str(folder)]
    command += ["--recordings", str(manifest)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "had" in run.stdout
    assert AlignmentHeads.of(folder).source == "chosen"
