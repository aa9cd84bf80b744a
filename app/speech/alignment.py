"""Alignment of tokens to audio by cross-attention: where in a window each token is heard.

After openai/whisper `timing.py`: the alignment heads' attention, normalised over the tokens and
smoothed over time, is the score of a token at a frame; the best way through both in order is found
by dynamic time warping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

Floats: TypeAlias = npt.NDArray[np.float32]

Lags: TypeAlias = Sequence[int]  # frames by which each head's attention is early

FRAME_MS = 20
_SMOOTHED = 7  # frames, ibid.
# Exchanges that bring the median to the middle (Devillard, "Fast median search", 1998). Seven times
# as fast as scipy's filter, and numpy lets other threads run meanwhile.
_MEDIAN_OF_SEVEN = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3),
    (3, 4),
)  # fmt: skip


_libraries = cache(ThreadpoolController)


@dataclass(frozen=True)
class CrossAttention:
    """What the alignment heads look for, and what there is. queries: shape (heads, tokens, size),
    each that which chose the token. keys: shape (heads, frames, size)."""

    queries: Floats
    keys: Floats

    @classmethod
    def of_bytes(cls, heads: int, size: int, queries: bytes, keys: bytes) -> "CrossAttention":
        """Return what is written as 16-bit floats, one head after the other."""

        def floats(content: bytes) -> Floats:
            return np.frombuffer(content, np.float16).reshape(heads, -1, size).astype(np.float32)

        return cls(floats(queries), floats(keys))

    def weights(self) -> Floats:
        """Return the attention of each head, shape (heads, tokens, frames); over the frames it sums
        to 1."""
        # One thread: the engine's must not wait for cores on which BLAS's spin.
        with _libraries().limit(limits=1, user_api="blas"):
            scores = self.queries @ self.keys.transpose(0, 2, 1)
        scores /= np.sqrt(self.queries.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def scores(weights: Floats, lags: Lags) -> Floats:
    """Return how well each token fits each frame, shape (tokens, frames), by the attention of
    several heads, shape (heads, tokens, frames), each with its lag."""
    return np.asarray(moved(head_scores(weights), lags).mean(axis=0))


def head_scores(weights: Floats) -> Floats:
    """Return how well each token fits each frame by each head, both of shape (heads, tokens,
    frames)."""
    spread = np.maximum(weights.std(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    normal = (weights - weights.mean(axis=1, keepdims=True)) / spread
    return np.stack([smoothed(head) for head in normal])  # a head at a time fits the caches


def smoothed(score: Floats) -> Floats:
    """Return the running median of seven frames of a score, shape (tokens, frames), mirrored at its
    ends."""
    width = _SMOOTHED // 2
    padded = np.pad(
        score, ((0, 0), (width, width)), "reflect" if score.shape[1] > width else "edge"
    )
    seven = [padded[:, at : at + score.shape[1]] for at in range(_SMOOTHED)]
    for a, b in _MEDIAN_OF_SEVEN:
        seven[a], seven[b] = np.minimum(seven[a], seven[b]), np.maximum(seven[a], seven[b])
    return seven[3]


def moved(several: npt.NDArray[Any], lags: Lags) -> Floats:
    """Return scores of several heads, shape (heads, tokens, frames), each as many frames later as
    its lag says."""
    frames = np.arange(several.shape[-1])
    return np.stack(
        [
            one[:, np.clip(frames - lag, 0, len(frames) - 1)].astype(np.float32)
            for one, lag in zip(several, lags, strict=True)
        ]
    )


def first_frames(score: Floats) -> list[int]:
    """Return the first frame of each token on the best way through a score of shape (tokens,
    frames), which visits every token and every frame in order.

    Dynamic time warping a row at a time: the cheapest way to frame j of a row enters it at some
    frame k, by k's cost from the row above, and goes along the row from there.
    """
    costs = -score.astype(np.float64)
    entered = np.empty_like(costs)  # the cost of entering a row at a frame, less the row's up to it
    before = np.concatenate([[0.0], np.full(costs.shape[1] - 1, np.inf)])
    for row, cost in enumerate(costs):
        along = np.cumsum(cost)
        entered[row] = before - (along - cost)
        reached = along + np.minimum.accumulate(entered[row])
        before = np.minimum(reached, np.concatenate([[np.inf], reached[:-1]]))
        costs[row] = reached
    return _entries(entered, costs)


def _entries(entered: npt.NDArray[np.float64], reached: npt.NDArray[np.float64]) -> list[int]:
    """Return the frame at which the best way enters each row, from the last row back."""
    at, frames = reached.shape[1] - 1, list[int]()
    for row in range(len(reached) - 1, -1, -1):
        at = int(np.argmin(entered[row, : at + 1]))
        frames.append(at)
        if row and at and reached[row - 1, at - 1] <= reached[row - 1, at]:
            at -= 1
    return frames[::-1]
