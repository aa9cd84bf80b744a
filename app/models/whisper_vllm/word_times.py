"""Segments with their words, by what the model attended to when it chose their tokens."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp

from app.models.base import Segment, Word
from app.models.whisper_vllm.words import TokenWord, words_of
from app.speech.alignment import FRAME_MS, Floats, first_frames
from app.speech.windows import Window

Sampled = Sequence[tuple[int, float]]


def aligned(
    segments: Sequence[Segment],
    sampled: Sampled,
    score: Floats,
    window: Window,
    content: Callable[[int], bytes],
) -> tuple[Segment, ...]:
    """Return segments of a window, in their order, with words. `sampled` is all tokens of the
    window and their log-probabilities; `score` is how well each fits each frame, shape (tokens,
    frames); `content` gives a token's bytes. A segment without tokens stays without words."""
    starts = [min(FRAME_MS * frame, window.duration_ms) for frame in first_frames(score)]
    starts.append(window.duration_ms)

    def timed(word: TokenWord) -> Word:
        return Word(
            start_ms=window.time_of(starts[word.first]),
            end_ms=window.time_of(starts[word.stop], is_end=True),
            text=word.text,
            probability=_mean([exp(p) for _, p in sampled[word.first : word.stop]]),
        )

    found = token_words(segments, sampled, content)
    return tuple(
        replace(segment, words=tuple(map(timed, words)))
        for segment, words in zip(segments, found, strict=True)
    )


def token_words(
    segments: Sequence[Segment], sampled: Sampled, content: Callable[[int], bytes]
) -> list[list[TokenWord]]:
    """Return the words of each of a window's segments, which are in their order; their tokens are
    counted among all that were sampled."""
    ids, at, found = [token for token, _ in sampled], 0, list[list[TokenWord]]()
    for segment in segments:
        tokens = list(segment.tokens)
        at = next(n for n in range(at, len(ids) + 1) if ids[n : n + len(tokens)] == tokens)
        words = words_of(tokens, content)
        found.append([replace(w, first=at + w.first, stop=at + w.stop) for w in words])
        at += len(tokens)
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
