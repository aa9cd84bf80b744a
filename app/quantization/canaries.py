"""Canaries: recordings that a promoted checkpoint must transcribe as in its proof before clients
are let in, words at the same times."""

import io
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.audio.decoding import Decoders
from app.errors import CanaryFailed
from app.files import write_json
from app.quantization.proof import LanguageProof, Proof
from app.recordings.clip import Clip
from app.recordings.error_rates import Metric, Pair, count, metrics_of
from app.recordings.word_times import TimedWord, start_errors
from app.serving.state import ServedModel
from app.speech.cutting import Cutting
from app.transcription.pipeline import transcript
from app.transcription.results import Options, Transcript

_EACH = 4  # of a language
# Batches of another size round differently, and a token may flip: equality would be too much.
_TOLERANCE = 0.1
# Of the median error of words' starts: two frames of the encoder. Heads of another checkpoint, or
# lags that are not its own, are off by more.
_TOLERANCE_MS = 40.0


@dataclass(frozen=True)
class Canary:
    """A recording with its expected transcript. allowed: the error rate that passes, by this
    metric. words: when each is said, where that is known; allowed_ms: the median error of their
    starts that passes."""

    audio: bytes
    language: str
    expected: str
    allowed: float
    metric: Metric = "cer"
    words: tuple[TimedWord, ...] = ()
    allowed_ms: float | None = None


class Picked(NamedTuple):
    """A proof's recording, the candidate's transcript, and the median error of the starts of its
    language's words (ms)."""

    clip: Clip
    expected: str
    median_ms: float | None = None


def chosen(clips: Sequence[Clip], proof: Proof) -> list[Picked]:
    """Choose some of the proof's recordings in each language, spread over it, with the candidate's
    transcripts."""
    by_language: defaultdict[str, list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        by_language[clip.language].append(number)
    picked = []
    for numbers in by_language.values():
        step = max(1, len(numbers) // _EACH)
        picked += numbers[::step][:_EACH]
    medians = {name: _median_ms(one) for name, one in proof.languages.items()}
    return [
        Picked(clips[n], proof.sentences[n].candidate, medians.get(clips[n].language))
        for n in picked
    ]


def _median_ms(proof: LanguageProof) -> float | None:
    times = proof.word_times.get("candidate")
    return times.median_ms if times else None


def keep(folder: Path, picked: Iterable[Picked]) -> None:
    """Copy canaries into a folder, since the recordings may be gone later. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for number, (clip, expected, median_ms) in enumerate(picked):
        (folder / f"{number}.audio").write_bytes(clip.content())
        words = [[word.start, word.end, word.text] for word in clip.words]
        times = {"words": words, "median_ms": median_ms} if words else {}
        rows.append({"language": clip.language, "expected": expected} | times)
    write_json(folder / "canaries.json", rows)


def kept(folder: Path) -> list[Canary]:
    """Read the canaries of a folder. Raises OSError, ValueError."""
    rows = json.loads((folder / "canaries.json").read_text("utf-8"))
    return [
        Canary(
            (folder / f"{number}.audio").read_bytes(),
            row["language"],
            row["expected"],
            _TOLERANCE,
            words=tuple(TimedWord(*word) for word in row.get("words", ())),
            allowed_ms=_allowed_ms(row.get("median_ms")),
        )
        for number, row in enumerate(rows)
    ]


def given(clips: Iterable[Clip], proof: dict[str, Any]) -> list[Canary]:
    """Return canaries of an operator's own recordings, with their words. They may be missed as
    often as the proof's were, plus a tolerance: by words, or by characters where a language has no
    spaces. Where the times of their words are known, so do these hold."""
    medians = {
        name: one.get("word_times", {}).get("candidate", {}).get("median_ms")
        for name, one in proof["languages"].items()
    }
    rates = {name: one["candidate"] for name, one in proof["languages"].items()}
    worst = max(rates.values(), default=0.0)
    return [
        Canary(
            clip.content(),
            clip.language,
            clip.text,
            rates.get(clip.language, worst) + _TOLERANCE,
            metrics_of(clip.language)[0],
            clip.words,
            _allowed_ms(medians.get(clip.language)),
        )
        for clip in clips
    ]


def _allowed_ms(median_ms: float | None) -> float | None:
    return None if median_ms is None else median_ms + _TOLERANCE_MS


async def check(
    model: ServedModel,
    canaries: Sequence[Canary],
    decoders: Decoders,
    *,
    cutting: Cutting,
) -> None:
    """Raises CanaryFailed where a language is heard otherwise than expected, or its words at other
    times; EngineDied, and what `decoders` raise."""
    heard: defaultdict[str, list[tuple[Canary, Transcript]]] = defaultdict(list)
    for canary in canaries:
        told = await _heard(model, canary, decoders, cutting)
        heard[canary.language].append((canary, told))
    for language, several in heard.items():
        _check_text(language, several)
        _check_times(language, several)


def _check_text(language: str, several: Sequence[tuple[Canary, Transcript]]) -> None:
    one = several[0][0]
    pairs = [Pair(language, canary.expected, told.text) for canary, told in several]
    counts = count(pairs, one.metric)
    units = max(1, int(counts.units.sum()))
    rate, allowed = counts.errors.sum() / units, one.allowed
    if rate > allowed:
        worst = pairs[int((counts.errors / counts.units.clip(1)).argmax())]
        what = "words" if one.metric == "wer" else "characters"
        raise CanaryFailed(
            f"The canaries in {language} differ by {rate:.1%} of {what}, over {allowed:.1%}.",
            "What served before serves again. Prove the checkpoint anew, or look at the canaries' "
            "words.",
            transcripts=f"{worst.reference!r} was heard as {worst.heard!r}.",
        )


def _check_times(language: str, several: Sequence[tuple[Canary, Transcript]]) -> None:
    allowed = several[0][0].allowed_ms
    errors = [
        error
        for canary, told in several
        if canary.words
        for error in start_errors(canary.words, _timed(told), language)
    ]
    if allowed is None or not errors:
        return
    median = 1000 * float(np.median(errors))
    if median > allowed:
        raise CanaryFailed(
            f"The words of the canaries in {language} begin {median:.0f} ms off (median), over "
            f"{allowed:.0f} ms.",
            "What served before serves again. Choose the checkpoint's alignment heads anew "
            "(marlinscribe align-heads), and prove it.",
        )


def _timed(told: Transcript) -> list[TimedWord]:
    return [TimedWord(one.start_ms / 1000, one.end_ms / 1000, one.text) for one in told.words]


async def _heard(
    model: ServedModel, canary: Canary, decoders: Decoders, cutting: Cutting
) -> Transcript:
    wave = await decoders.decode(io.BytesIO(canary.audio), max_seconds=60)
    has_times = model.loaded.capabilities.word_times
    options = Options(languages=(canary.language,), words=bool(canary.words) and has_times)
    return await transcript(model.loaded, wave, options, cutting=cutting)
