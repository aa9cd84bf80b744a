"""`marlinscribe align-heads` keeps a choice only where it is better, and says why it has none."""

import asyncio
import json

import numpy as np
import pytest

from app.cli import main
from app.commands import align_heads
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.recordings.clip import Clip
from app.recordings.word_times import TimedWord
from app.speech.cutting import Cutting
from tests.sound import encode, tone
from tests.speech.test_head_choice import window
from tests.transcription.fakes import TS, FakeDecoder, FakeText, T, said

NAMED = [[0, 1]]  # of three heads in one layer


@pytest.fixture
def folder(tmp_path):
    """A checkpoint's folder that names the second head, and two recordings with words."""
    shape = {"decoder_layers": 1, "decoder_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(shape), "utf-8")
    named = json.dumps({"alignment_heads": NAMED})
    (tmp_path / "generation_config.json").write_text(named, "utf-8")
    rows = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(encode(tone(1)))
        rows.append({"audio": f"{name}.wav", "text": " w1", "words": [[0.2, 0.4, "w1"]]})
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return tmp_path


def run(monkeypatch, folder, windows):
    """The exit status, where these are the windows of the recordings."""

    async def known(*_):
        return windows

    monkeypatch.setattr(align_heads, "_known", known)
    return main(["align-heads", str(folder), "--recordings", str(folder)])


def test_a_better_choice_is_written_with_its_errors(monkeypatch, folder, capsys):
    windows = [[window(None, None, 3, seed=seed)] for seed in range(2)]
    assert run(monkeypatch, folder, windows) == 0
    found = AlignmentHeads.of(folder)
    assert (found.heads, found.lags, found.source) == (((0, 2),), (3,), "chosen")
    assert found.word_times["en"]["median_ms"] == 0
    told = capsys.readouterr().out
    assert "had" in told
    assert "chosen" in told


def test_heads_that_are_better_are_kept(monkeypatch, folder, capsys):
    good, other = window(None, 0, None), window(None, 0, None, seed=1)
    assert run(monkeypatch, folder, [[good], [other]]) == 0
    assert AlignmentHeads.of(folder).source == "checkpoint"
    assert "kept" in capsys.readouterr().out


def test_recordings_of_which_nothing_is_heard_are_an_error(monkeypatch, folder, capsys):
    assert run(monkeypatch, folder, [[], []]) == 1
    assert "Hardly a word" in capsys.readouterr().err


def test_recordings_without_the_times_of_words_are_an_error(monkeypatch, folder, capsys):
    (folder / "manifest.jsonl").write_text('{"audio": "a.wav", "text": "w1"}', "utf-8")
    assert run(monkeypatch, folder, []) == 1
    assert "fewer than two recordings" in " ".join(capsys.readouterr().err.split())


def test_heads_that_a_checkpoint_does_not_have_are_an_error(monkeypatch, folder, capsys):
    named = json.dumps({"alignment_heads": [[9, 9]]})
    (folder / "generation_config.json").write_text(named, "utf-8")
    assert run(monkeypatch, folder, []) == 1
    assert "head 9 of decoder layer 9" in " ".join(capsys.readouterr().err.split())


def test_words_that_are_heard_as_they_were_said_get_their_known_starts(folder):
    decoder = FakeDecoder(lambda _: said(TS, 1, 2, TS + 50))
    aligner = align_heads._Aligner(decoder, T, FakeText(), Cutting(vad=None))
    words = (TimedWord(0.2, 0.4, "w1"), TimedWord(0.5, 0.8, "something"))
    clip = Clip(folder / "a.wav", "w1 something", "en", words=words)
    (known,) = asyncio.run(aligner.windows(clip))
    assert (known.tokens, known.starts_ms) == ((1,), (200,))
    assert known.scores.shape == (1, 5, 50)
    assert np.isfinite(known.scores).all()
