"""How long the encoder is for a window: as the window is, and a margin, where that was measured to
cost no text; else 30 s, as Whisper was trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.audio.waveform import MS, Samples
from app.errors import BadSource
from app.files import write_json
from app.models.whisper_vllm.json_files import read_json
from app.models.whisper_vllm.tokens import MOST_FRAMES
from app.speech.alignment import FRAME_MS

MARGIN_MS = 8000  # silence behind a window; with less, some sentences are told twice
MOST_POINTS = 0.5  # of the error rate, in percentage points, that a length class may cost
FEWEST = 30  # recordings that say what it costs
BOUNDS_MS = (5000, 15_000, 30_000)  # of the classes that are measured
_OWN = "encoder.json"  # what a measurement of the checkpoint itself found
_ADVICE = "Delete it."
_STEP = 16  # positions: windows of about one length are encoded together


@dataclass(frozen=True)
class LengthClass:
    """What a shortened encoder costs windows of up to `longest_ms` that are longer than the class
    before. points: what it adds to the error rate, in percentage points, with the ends of the 95 %
    interval, of so many recordings."""

    longest_ms: int
    points: float
    low: float
    high: float
    recordings: int

    @property
    def passes(self) -> bool:
        """Whether enough recordings show that it costs little."""
        return self.recordings >= FEWEST and self.points <= MOST_POINTS


@dataclass(frozen=True)
class EncoderLengths:
    """How long the encoder is for which windows. classes: the measured ones, shortest first; longer
    windows, and those of classes that cost too much, are heard whole. source: who says so.
    "checked": a measurement of this checkpoint. "measured": ours of its kind. "asked": the
    settings. "off": nobody."""

    classes: tuple[LengthClass, ...] = ()
    source: Literal["checked", "measured", "asked", "off"] = "off"

    @classmethod
    def of(
        cls, folder: Path, mode: Literal["auto", "on", "off"], known_as: Callable[[], str]
    ) -> "EncoderLengths":
        """Return those of the checkpoint in a folder. known_as: tells which one it is; asked only
        where that matters, for all weights may be read. Raises BadSource."""
        if mode == "off":
            return WHOLE
        if mode == "on":
            return cls(source="asked")
        own = read_json(folder / _OWN, _ADVICE)
        if own:
            return cls(_classes(own, folder), "checked")
        if _width(folder) in _MEASURED_WIDTHS and (found := _MEASURED.get(known_as())):
            return cls(found, "measured")
        return WHOLE

    def positions(self, duration_ms: int) -> int:
        """Return how many positions the encoder has for a window, of 20 ms each."""
        of = next((one for one in self.classes if duration_ms <= one.longest_ms), None)
        if not (self.source == "asked" or (of and of.passes)):
            return MOST_FRAMES
        wanted = -(-(duration_ms + MARGIN_MS) // FRAME_MS)
        return min(-(-wanted // _STEP) * _STEP, MOST_FRAMES)

    @property
    def facts(self) -> dict[str, Any]:
        """What /v1/models tells of them."""
        told = [asdict(one) | {"short": one.passes} for one in self.classes]
        return {"source": self.source, "margin_ms": MARGIN_MS, "classes": told}


WHOLE = EncoderLengths()
_BASE = "8ed7bc5a2870dfa5a2105b1eb5dd1124018b9139f5863984b908f0cc51d2f40c"  # openai/whisper-base
_TINY_EN = "a477a4441dd6edb9c5b6281ab18186d4fa97de028779e05df5fd48f9e1999886"
# By a source's weights and the recipe (Checkpoint.known_as): what a first start makes on a
# processor, and what it makes where four bits are asked for. As docs/measurements.md has it.
_MEASURED: Mapping[str, tuple[LengthClass, ...]] = {
    f"{_BASE} W8A8 rtn g128 embedding=W8A8": (
        LengthClass(5000, 0.31, -0.34, 0.94, 251),
        LengthClass(15_000, 0.03, -0.33, 0.38, 79),
        LengthClass(30_000, -0.24, -0.76, 0.0, 6),
    ),
    f"{_BASE} W4A16 gptq g32 encoder.attention=W8A8 encoder.mlp=W8A8": (
        LengthClass(5000, 0.0, -0.61, 0.58, 251),
        LengthClass(15_000, -0.06, -0.3, 0.17, 79),
        LengthClass(30_000, 0.49, 0.0, 1.06, 6),
    ),
    f"{_TINY_EN} W8A8 rtn g128 embedding=W8A8": (
        LengthClass(5000, -0.07, -0.95, 0.8, 144),
        LengthClass(15_000, -0.05, -0.32, 0.21, 47),
        LengthClass(30_000, 0.0, 0.0, 0.0, 1),
    ),
}
_MEASURED_WIDTHS = frozenset({384, 512})  # of what is in there


def class_of(duration_ms: int) -> int:
    """Return the bound of the class that a window is measured in."""
    return next(bound for bound in BOUNDS_MS if duration_ms <= bound or bound == BOUNDS_MS[-1])


def keep(folder: Path, classes: tuple[LengthClass, ...]) -> Path:
    """Write what was measured beside a checkpoint; return the file. Raises OSError."""
    write_json(folder / _OWN, {"classes": [asdict(one) for one in classes]})
    return folder / _OWN


def frames_of(duration_ms: int) -> int:
    """Return how many of the encoder's positions a window itself takes."""
    return min(-(-duration_ms // FRAME_MS), MOST_FRAMES)


def padded(samples: Samples, positions: int) -> Samples:
    """Return samples and silence behind them, as much as the encoder's positions stand for."""
    return np.pad(samples, (0, max(0, positions * FRAME_MS * MS - len(samples))))


def _classes(own: Mapping[str, Any], folder: Path) -> tuple[LengthClass, ...]:
    try:
        found = [LengthClass(**one) for one in own["classes"]]
    except (LookupError, TypeError) as error:
        raise BadSource(f"{folder / _OWN} has a form that is not known.", _ADVICE) from error
    return tuple(sorted(found, key=lambda one: one.longest_ms))


def _width(folder: Path) -> int:
    return int(read_json(folder / "config.json", _ADVICE).get("d_model", 0))
