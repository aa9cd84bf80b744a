"""Canaries: recordings that a promoted checkpoint must transcribe as in its proof before clients
are let in."""

import io
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.audio.decoding import Decoders
from app.errors import CanaryFailed
from app.files import write_json
from app.quantization.proof import Proof
from app.recordings.clip import Clip
from app.recordings.error_rates import Metric, Pair, count, metrics_of
from app.serving.state import ServedModel
from app.speech.cutting import Cutting
from app.transcription.pipeline import transcript
from app.transcription.results import Options

_EACH = 4  # of a language
# Batches of another size round differently, and a token may flip: equality would be too much.
_TOLERANCE = 0.1


@dataclass(frozen=True)
class Canary:
    """A recording with its expected transcript. allowed: the error rate that passes, by this
    metric."""

    audio: bytes
    language: str
    expected: str
    allowed: float
    metric: Metric = "cer"


def chosen(clips: Sequence[Clip], proof: Proof) -> list[tuple[Clip, str]]:
    """Choose some of the proof's recordings in each language, spread over it, with the candidate's
    transcripts."""
    by_language: defaultdict[str, list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        by_language[clip.language].append(number)
    picked = []
    for numbers in by_language.values():
        step = max(1, len(numbers) // _EACH)
        picked += numbers[::step][:_EACH]
    return [(clips[n], proof.sentences[n].candidate) for n in picked]


def keep(folder: Path, picked: Iterable[tuple[Clip, str]]) -> None:
    """Copy canaries into a folder, since the recordings may be gone later. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for number, (clip, expected) in enumerate(picked):
        (folder / f"{number}.audio").write_bytes(clip.content())
        rows.append({"language": clip.language, "expected": expected})
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
        )
        for number, row in enumerate(rows)
    ]


def given(clips: Iterable[Clip], proof: dict[str, Any]) -> list[Canary]:
    """Return canaries of an operator's own recordings, with their words. They may be missed as
    often as the proof's were, plus a tolerance: by words, or by characters where a language has no
    spaces."""
    rates = {name: one["candidate"] for name, one in proof["languages"].items()}
    worst = max(rates.values(), default=0.0)
    return [
        Canary(
            clip.content(),
            clip.language,
            clip.text,
            rates.get(clip.language, worst) + _TOLERANCE,
            metrics_of(clip.language)[0],
        )
        for clip in clips
    ]


async def check(
    model: ServedModel,
    canaries: Sequence[Canary],
    decoders: Decoders,
    *,
    cutting: Cutting,
) -> None:
    """Raises CanaryFailed where a language is heard otherwise than expected; EngineDied, and what
    `decoders` raise."""
    heard: defaultdict[str, list[tuple[Canary, Pair]]] = defaultdict(list)
    for canary in canaries:
        text = await _heard(model, canary, decoders, cutting)
        pair = Pair(canary.language, canary.expected, text)
        heard[canary.language].append((canary, pair))
    for language, several in heard.items():
        one = several[0][0]
        counts = count([pair for _, pair in several], one.metric)
        units = max(1, int(counts.units.sum()))
        rate, allowed = counts.errors.sum() / units, one.allowed
        if rate > allowed:
            worst = several[int((counts.errors / counts.units.clip(1)).argmax())][1]
            what = "words" if one.metric == "wer" else "characters"
            raise CanaryFailed(
                f"The canaries in {language} differ by {rate:.1%} of {what}, over {allowed:.1%}.",
                "What served before serves again. Prove the checkpoint anew, or look at the "
                "canaries' words.",
                transcripts=f"{worst.reference!r} was heard as {worst.heard!r}.",
            )


async def _heard(model: ServedModel, canary: Canary, decoders: Decoders, cutting: Cutting) -> str:
    wave = await decoders.decode(io.BytesIO(canary.audio), max_seconds=60)
    options = Options(languages=(canary.language,))
    said = await transcript(model.loaded, wave, options, cutting=cutting)
    return said.text
