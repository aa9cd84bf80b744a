"""Recordings packed into windows, as a long recording fills them when the model serves.

A clip of 4 s in a window of 30 s is silence for the most part: nine tenths of what a layer computes
are spent on it, and a method that learns from the layer's inputs learns silence.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio.waveform import SAMPLE_RATE
from app.recordings.clip import Clip
from app.recordings.writing_systems import UNSPACED

_LONGEST = 30.0  # seconds of a window
_PAUSE = 0.4  # seconds between clips


@dataclass(frozen=True)
class Window:
    """What one window holds.

    samples: at 16 kHz, shape (n,), at most 30 s; segments: sentences as (start s, end s, text).
    """

    language: str
    text: str
    samples: NDArray[np.float32]
    segments: tuple[tuple[float, float, str], ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def followed_by(self, other: "Window") -> "Window":
        """Return a window with the other's speech behind this one's, after a pause."""
        pause = np.zeros(int(_PAUSE * SAMPLE_RATE), np.float32)
        samples = np.concatenate([self.samples, pause, other.samples])
        begins = self.seconds + _PAUSE
        later = ((begins + start, begins + end, text) for start, end, text in other.segments)
        between = "" if self.language in UNSPACED else " "
        text = between.join([self.text, other.text])
        return Window(self.language, text, samples, (*self.segments, *later))


def window_of(clip: Clip) -> Window:
    """Return a window that holds one clip. Raises NoCalibration."""
    wave = clip.waveform()
    segments = clip.timed or ((0.0, wave.seconds, clip.text),)
    return Window(clip.language, clip.text, wave.samples, segments)


def packed(clips: Iterable[Clip]) -> list[Window]:
    """Pack clips of one language each into windows, in their order. Raises NoCalibration."""
    full: list[Window] = []
    filling: dict[str, Window] = {}
    for one in map(window_of, clips):
        before = filling.get(one.language)
        if before and before.seconds + _PAUSE + one.seconds <= _LONGEST:
            filling[one.language] = before.followed_by(one)
        else:
            full += [before] if before else []
            filling[one.language] = one
    return [*full, *filling.values()]
