"""Long and odd recordings, and what is said in them: prose, lists, repetition, silence, noise.

Their voices are synthetic (demo/voices). Everything is seeded: two runs hear the same.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE, Samples
from app.environment import DEMO

LONG = DEMO / "recordings" / "long"
JUDGE = DEMO / "recordings" / "voices" / "judge"
FURTHER = DEMO / "recordings" / "languages"
SHORT_SECONDS = 5.0  # a short clip has at most
_QUIET_SECONDS = 120
_INTRO_SECONDS = 10
_INTROS = 3  # clips of a language


@dataclass(frozen=True)
class Sentence:
    """A sentence, and when it is said, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Case:
    """A recording, shape (n,), what is said in it, and whether its language is told."""

    name: str
    samples: Samples
    sentences: tuple[Sentence, ...] = ()
    language: str = "en"
    is_language_told: bool = True
    is_counted_in_characters: bool = False  # digits are written in many ways

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def cases() -> Iterator[Case]:
    """Yield all recordings."""
    readings = {name: reading(name) for name in _readings()}
    yield from readings.values()
    said = list(cut(readings["prose"]))
    yield joined("without a pause", said[40:90], pauses=(0.0,))
    yield joined("long silences", said[:120], pauses=(0.3, 0.3, 20.0))
    yield joined("one sentence thirty times", [said[0]] * 30, pauses=(0.4,))
    yield from _quiet()
    yield from _intros()


def reading(name: str) -> Case:
    """Read one of demo/recordings/long."""
    return read_case(name, LONG, _readings()[name])


def _readings() -> dict[str, dict[str, Any]]:
    return {Path(row["audio"]).stem: row for row in manifest(LONG)}


def manifest(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def short_clips() -> dict[Path, float]:
    """Return the judge's clips of clean English, and the seconds of each."""
    return {
        JUDGE / row["audio"]: row["duration"]
        for row in manifest(JUDGE)
        if row["condition"] == "clean" and row["language"] == "en"
        if row["duration"] < SHORT_SECONDS
    }


def read_case(name: str, folder: Path, row: dict[str, Any]) -> Case:
    with (folder / str(row["audio"])).open("rb") as file:
        samples = decode(file, max_seconds=3600).samples
    sentences = tuple(Sentence(*one) for one in row["segments"])
    digits = name in ("digits", "counting")
    return Case(name, samples, sentences, str(row["language"]), is_counted_in_characters=digits)


def cut(case: Case) -> Iterator[tuple[str, Samples]]:
    """Yield each sentence by itself."""
    for one in case.sentences:
        begin, end = int(one.start * SAMPLE_RATE), int(one.end * SAMPLE_RATE)
        yield one.text, case.samples[begin:end]


def joined(name: str, said: Sequence[tuple[str, Samples]], pauses: Sequence[float]) -> Case:
    """Return sentences one behind the other, with pauses of so many seconds between them."""
    choose, at = Random(name), 0.5
    parts, sentences = [np.zeros(int(at * SAMPLE_RATE), np.float32)], []
    for text, samples in said:
        length, pause = len(samples) / SAMPLE_RATE, choose.choice(pauses)
        parts += [samples, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
        sentences.append(Sentence(at, at + length, text))
        at += length + pause
    return Case(name, np.concatenate(parts), tuple(sentences))


def _quiet() -> Iterator[Case]:
    """Yield recordings in which nobody speaks."""
    count = _QUIET_SECONDS * SAMPLE_RATE
    times = np.arange(count) / SAMPLE_RATE
    generator = np.random.default_rng(0)
    yield Case("silence", np.zeros(count, np.float32))
    for colour, power in (("white", 0.0), ("pink", 0.5), ("brown", 1.0)):
        for decibels in (-25, -45, -60):
            noise = _coloured(count, power, generator) * 10 ** (decibels / 20)
            yield _of(f"{colour} noise, {decibels} dB", noise)
    hum = np.sum([np.sin(2 * np.pi * 50 * n * times) / n for n in (1, 2, 3, 5)], axis=0)
    yield _of("hum", 0.05 * hum)
    yield _of("a tone", 0.2 * np.sin(2 * np.pi * 440 * times))
    yield _of("beeps", 0.2 * np.sin(2 * np.pi * 1000 * times) * (times % 1 < 0.2))
    breath = np.clip(np.sin(np.pi * times / 2), 0, 1) ** 2
    yield _of("breath", 0.02 * _coloured(count, 0.25, generator) * breath)


def _of(name: str, samples: np.ndarray) -> Case:
    return Case(name, samples.astype(np.float32))


def _coloured(count: int, power: float, generator: np.random.Generator) -> np.ndarray:
    """Return noise of loudness 1 whose amplitude falls with 1/f to the power."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20)
    coloured = np.fft.irfft(spectrum / frequencies**power, count)
    return np.asarray(coloured / np.sqrt(np.mean(coloured**2)))


def _intros() -> Iterator[Case]:
    """Yield clips behind a silence, whose language nobody tells."""
    clean = [
        (folder, row)
        for folder in (JUDGE, FURTHER)
        for row in manifest(folder)
        if row["condition"] == "clean"
    ]
    for language in sorted({str(row["language"]) for _, row in clean}):
        of = [(folder, row) for folder, row in clean if row["language"] == language][:_INTROS]
        for number, (folder, row) in enumerate(of, 1):
            yield _behind_silence(read_case(f"{language} behind silence {number}", folder, row))


def _behind_silence(clip: Case) -> Case:
    silence = np.zeros(_INTRO_SECONDS * SAMPLE_RATE, np.float32)
    later = tuple(
        Sentence(one.start + _INTRO_SECONDS, one.end + _INTRO_SECONDS, one.text)
        for one in clip.sentences
    )
    samples = np.concatenate((silence, clip.samples))
    return Case(clip.name, samples, later, clip.language, is_language_told=False)
