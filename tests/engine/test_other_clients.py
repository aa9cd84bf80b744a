"""Clients in the wild, byte for byte, through the real engine; and the command line on a folder."""

import json
import re
import shutil

import pytest

from app.audio.decode import decode
from app.cli import main
from tests.engine.conftest import MAYDAY, MAYDAY_WORDS, RECORDINGS
from tests.wild_clients import (
    bazarr,
    bazarr_asr,
    json_request,
    openrouter_json,
    raw,
    replay,
    whisper_cpp,
)

CHINESE = next(
    json.loads(line)
    for line in (RECORDINGS / "test" / "manifest.jsonl").read_text("utf-8").splitlines()
    if json.loads(line)["language"] == "zh"
)


def raw_sound(path):
    with path.open("rb") as file:
        return raw(decode(file, max_seconds=60).samples)


def words_of(srt):
    """The words of a subtitle, without numbers and times."""
    return " ".join(re.sub(r"(?m)^\d+\n\S+ --> \S+$", "", srt).split())


def test_bazarr_gets_subtitles_of_raw_sound(server):
    answer = replay(server.url, bazarr_asr(raw_sound(MAYDAY)))
    assert answer.status == 200
    assert words_of(answer.text) == MAYDAY_WORDS
    assert answer.text == server.transcribe(MAYDAY, response_format="srt", language="en").text


@pytest.mark.parametrize(
    ("path", "language", "code"),
    [(MAYDAY, "english", "en"), (RECORDINGS / "test" / CHINESE["audio"], "chinese", "zh")],
)
def test_bazarr_gets_the_language_of_raw_sound(server, path, language, code):
    told = replay(server.url, bazarr("/detect-language?encode=false", raw_sound(path))).json()
    assert (told["detected_language"], told["language_code"]) == (language, code)
    assert 0.5 < told["confidence"] <= 1


@pytest.mark.parametrize("output", ["txt", "tsv", "json"])
def test_every_output_of_asr_has_the_words(server, output):
    path = f"/asr?output={output}&word_timestamps=true"
    answer = replay(server.url, bazarr(path, MAYDAY.read_bytes()))
    if output == "json":
        told = answer.json()
        words = [word["word"] for one in told["segments"] for word in one["words"]]
        assert "".join(words).strip() == told["text"] == MAYDAY_WORDS
        assert told["language"] == "en"
    else:
        lines = answer.text.splitlines()[output == "tsv" :]
        assert " ".join(line.split("\t")[-1] for line in lines) == MAYDAY_WORDS


def test_whisper_cpps_readme_gets_its_text(server):
    fields = {"temperature": "0.0", "temperature_inc": "0.2", "response_format": "json"}
    answer = replay(server.url, whisper_cpp(MAYDAY.read_bytes(), **fields))
    assert " ".join(answer.json()["text"].split()) == MAYDAY_WORDS


def test_whisper_cpps_verbose_segments_have_words_in_time(server):
    sent = whisper_cpp(MAYDAY.read_bytes(), response_format="verbose_json")
    body = replay(server.url, sent).json()
    for segment in body["segments"]:
        assert "".join(word["word"] for word in segment["words"]) == segment["text"]
        times = [time for word in segment["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= body["duration"]


def test_a_recording_in_json_is_heard(server):
    answer = replay(server.url, json_request(openrouter_json(MAYDAY.read_bytes(), "mp3")))
    assert answer.json()["text"] == MAYDAY_WORDS


def test_a_path_without_the_version_is_heard(server):
    sent = json_request(openrouter_json(MAYDAY.read_bytes(), "mp3"), "/audio/transcriptions")
    assert replay(server.url, sent).json()["text"] == MAYDAY_WORDS


def test_a_folder_gets_the_subtitles_that_the_server_writes(server, tmp_path):
    shutil.copy(MAYDAY, tmp_path / "mayday.mp3")
    shutil.copy(RECORDINGS / "test" / CHINESE["audio"], tmp_path / "chinese.ogg")
    assert main(["transcribe", "--url", server.url, str(tmp_path), "--format", "srt,vtt,txt"]) == 0
    for path in (tmp_path / "mayday.mp3", tmp_path / "chinese.ogg"):
        for suffix in ("srt", "vtt"):
            written = path.with_suffix(f".{suffix}").read_text("utf-8")
            assert written == server.transcribe(path, response_format=suffix).text
    assert (tmp_path / "mayday.txt").read_text() == MAYDAY_WORDS + "\n"
