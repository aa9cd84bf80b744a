"""The choice of alignment heads, by recordings whose words have known times.

A head's attention may run ahead of what is said, or behind it, by as much as a quarter of a second,
and each head by its own. So each has a lag, which moves its scores before they are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.speech.alignment import FRAME_MS, Floats, Lags, first_frames, moved

_MOST_HEADS = 8
_CANDIDATES = 16  # the best by themselves: the others add nothing
_MOST_LAG_MS = 300  # what is off by more is no matter of a lag
_WORST_MS = 1000  # an error counts as no more: one that is lost does not say how far
_LEAST_GAIN_MS = 0.1


@dataclass(frozen=True)
class Known:
    """A window whose words have known times. scores: of each head by itself, shape (heads, tokens,
    frames), of which there are many, so at any precision. tokens, starts_ms: the first tokens of
    words, and when those start in the window."""

    scores: npt.NDArray[np.floating[Any]]
    tokens: tuple[int, ...]
    starts_ms: tuple[float, ...]

    def off_ms(self, heads: Sequence[int], lags: Lags) -> Floats:
        """Return by how much too late some heads together find each word's start, shape
        (words,)."""
        found = np.array(first_frames(moved(self.scores[list(heads)], lags).mean(axis=0)))
        starts = np.array(self.starts_ms, np.float32)
        return np.asarray(found[list(self.tokens)] * FRAME_MS - starts, np.float32)


def off_ms(windows: Sequence[Known], heads: Sequence[int], lags: Lags) -> Floats:
    """Return by how much too late some heads together find the starts of all words."""
    return np.concatenate([window.off_ms(heads, lags) for window in windows])


def chosen(windows: Sequence[Known], count: int) -> dict[int, int]:
    """Choose among `count` heads, and give each its lag in frames: the best one, then whichever
    makes the mean error least beside those there are, for as long as one does."""
    own = {head: _lag(windows, head) for head in range(count)}
    by_error = sorted(own, key=lambda head: _error(windows, {head: own[head]}))
    candidates = by_error[:_CANDIDATES]
    found: dict[int, int] = {}
    least = np.inf
    while len(found) < min(_MOST_HEADS, len(candidates)):
        left = [head for head in candidates if head not in found]
        errors = [_error(windows, {**found, head: own[head]}) for head in left]
        if min(errors) > least - _LEAST_GAIN_MS:
            break
        least = min(errors)
        best = left[errors.index(least)]
        found[best] = own[best]
    return dict(sorted(found.items()))


def _lag(windows: Sequence[Known], head: int) -> int:
    """Return how many frames a head's scores are early."""
    early = -float(np.median(off_ms(windows, [head], [0])))
    return round(early / FRAME_MS) if abs(early) < _MOST_LAG_MS else 0


def _error(windows: Sequence[Known], heads: dict[int, int]) -> float:
    """Return the mean error of all words' starts, in milliseconds."""
    off = off_ms(windows, list(heads), list(heads.values()))
    return float(np.minimum(np.abs(off), _WORST_MS).mean())
