"""This module joins spoken sentences into a clip, with pauses around them and their exact times."""

import math
from random import Random

import numpy as np

from demo.voices.conditions import RATE, Samples

LONGEST = 28.0  # seconds of a clip
PAUSES = (0.15, 0.9)  # seconds between sentences
_STEP = 320  # samples: sentences start and end in Whisper's steps of 20 ms

Segment = tuple[float, float, str]  # start s, end s, sentence


def joined(
    sentences: list[tuple[str, Samples]],
    choose: Random,
    *,
    pauses: tuple[float, float] = PAUSES,
    longest: float = LONGEST,
) -> tuple[Samples, list[Segment]]:
    """Return the sentences one behind the other, with pauses of so many seconds, and their times.

    The clip ends before the sentence that would make it longer than `longest` seconds.
    """
    at = _steps(choose.uniform(0, 0.6) * RATE)
    parts, segments = [np.zeros(at, np.float32)], list[Segment]()
    for text, samples in sentences:
        end = at + _steps(len(samples))
        if segments and end > longest * RATE:
            break
        pause = _steps(choose.uniform(*pauses) * RATE)
        parts.append(np.pad(samples, (0, end - at - len(samples) + pause)))
        segments.append((at / RATE, end / RATE, text))
        at = end + pause
    return np.concatenate(parts), segments


def _steps(samples: float) -> int:
    """Return the number of samples, rounded up to whole steps."""
    return math.ceil(samples / _STEP) * _STEP
