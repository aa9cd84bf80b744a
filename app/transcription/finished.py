"""Windows that are finished, so that a transcription that was broken off goes on where it
stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.models.base import Segment, WindowResult
from app.speech.windows import Window
from app.transcription.coverage import Coverage, coverage
from app.transcription.policy import DecodeAgain
from app.transcription.windows import Pass


@dataclass(frozen=True, slots=True)
class Detected:
    """What one pass over a window was detected to be in: probabilities by ISO code, and how many
    milliseconds of sound the pass decoded."""

    languages: dict[str, float]
    no_speech_prob: float
    duration_ms: int

    @classmethod
    def of(cls, result: WindowResult) -> "Detected":
        """Return what a pass's result says."""
        detection, window = result.detection, result.request.window
        return cls(detection.languages, detection.no_speech_prob, window.duration_ms)


@dataclass(frozen=True, slots=True)
class FinishedWindow:
    """All that a transcript is made of from one window: its segments, the languages that it was
    detected to be in, and what became of its speech."""

    segments: tuple[Segment, ...]
    detected: tuple[Detected, ...]
    coverage: Coverage

    @classmethod
    def of(cls, window: Window, passes: Sequence[Pass]) -> "FinishedWindow":
        """Return what all passes over a window came to."""
        return cls(
            tuple(segment for one in passes for segment in one.segments),
            tuple(Detected.of(one.result) for one in passes if not _is_of_another_language(one)),
            coverage([window], passes),
        )


class FinishedWindows(Protocol):
    """Keeps the finished windows of a recording, or of one channel of it, by their number."""

    def find(self, number: int) -> FinishedWindow | None:
        """Return a window that is finished already."""
        ...

    def keep(self, number: int, window: FinishedWindow) -> None:
        """Keep a window that is finished now."""
        ...


class NoneKept:
    """Keeps nothing: the recording is transcribed at once or not at all."""

    def find(self, number: int) -> FinishedWindow | None:
        return None

    def keep(self, number: int, window: FinishedWindow) -> None:
        pass


def _is_of_another_language(one: Pass) -> bool:
    """Whether a window is decoded again because what it was detected to be in is not believed."""
    return isinstance(one.verdict, DecodeAgain) and one.verdict.reason == "language"
