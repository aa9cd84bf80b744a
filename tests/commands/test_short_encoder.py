"""`marlinscribe short-encoder` writes what it measured beside the checkpoint."""

import json
import shutil

import pytest

from app.cli import main
from app.commands import short_encoder
from app.environment import DEMO_MODEL
from app.models.whisper_vllm.encoder_length import FEWEST, EncoderLengths
from tests.sound import encode, tone


@pytest.fixture
def folder(tmp_path):
    """A checkpoint's folder, and as many recordings as a verdict needs."""
    (tmp_path / "config.json").write_text("{}", "utf-8")
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copy(DEMO_MODEL / name, tmp_path)
    write(tmp_path, FEWEST)
    return tmp_path


def write(folder, many, language="en"):
    rows = []
    for number in range(many):
        (folder / f"{number}.wav").write_bytes(encode(tone(1)))
        rows.append({"audio": f"{number}.wav", "text": "a red fox", "language": language})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")


def run(monkeypatch, folder, short):
    """The exit status, where a shortened encoder hears this of each recording."""

    async def heard(_, clips, settings):
        return ["a red fox" if settings.short_encoder == "off" else short for _ in clips]

    monkeypatch.setattr(short_encoder, "_heard", heard)
    return main(["short-encoder", str(folder), "--recordings", str(folder)])


def test_a_checkpoint_that_loses_nothing_is_served_shortened(monkeypatch, folder, capsys):
    assert run(monkeypatch, folder, "a red fox") == 0
    assert f"+0.00 points (+0.00 to +0.00) of {FEWEST} recordings: short" in capsys.readouterr().out
    assert EncoderLengths.of(folder, "auto", str).positions(2000) < 1500


def test_a_checkpoint_that_loses_words_is_heard_whole(monkeypatch, folder, capsys):
    assert run(monkeypatch, folder, "a red") == 0
    assert "recordings: whole" in capsys.readouterr().out
    assert EncoderLengths.of(folder, "auto", str).positions(2000) == 1500


@pytest.mark.parametrize(("many", "language"), [(FEWEST - 1, "en"), (FEWEST, "de")])
def test_with_too_few_recordings_that_it_understands_it_says_so(folder, capsys, many, language):
    write(folder, many, language)
    assert main(["short-encoder", str(folder), "--recordings", str(folder)]) == 1
    assert f"at least {FEWEST} recordings" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "encoder.json").exists()
