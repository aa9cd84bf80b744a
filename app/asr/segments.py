"""Tokens of one window to timed segments."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.asr.tokens import TIMESTAMP_MS, SpecialTokens
from app.asr.transcript import Segment
from app.audio.windows import Window


@dataclass(frozen=True)
class Decoded:
    """What the engine says of one window.

    tokens: sampled ids without the forced steps and the end of text.
    languages: ISO code to probability, of the languages that were candidates; sums to 1.
    complete: False where decoding ended at the token limit and not at an end of text.
    """

    tokens: tuple[int, ...]
    languages: dict[str, float]
    no_speech_prob: float
    avg_logprob: float
    temperature: float
    complete: bool = True


@dataclass(frozen=True)
class Piece:
    """A run of text ids between timestamps, in timestamp steps; `end` is None where unclosed."""

    start: int
    end: int | None
    ids: tuple[int, ...]


def split(tokens: SpecialTokens, ids: Sequence[int]) -> list[Piece]:
    """Cut at timestamps. Text after the last timestamp is kept, as an unclosed piece."""
    pieces: list[Piece] = []
    start, text = 0, []
    for i in ids:
        if i not in tokens.timestamps:
            text.append(i)
            continue
        at = i - tokens.first_timestamp
        if text:
            pieces.append(Piece(start, at, tuple(text)))
            text = []
        start = at
    if text:
        pieces.append(Piece(start, None, tuple(text)))
    return pieces


def segments_of(
    decoded: Decoded,
    window: Window,
    tokens: SpecialTokens,
    text_of: Callable[[Sequence[int]], str],
) -> list[Segment]:
    """Timed segments of a window; times stay inside it, and an unclosed tail ends where it does."""
    ratio = compression_ratio(text_of(decoded.tokens))
    segments = []
    for piece in split(tokens, decoded.tokens):
        text = text_of(piece.ids)
        if not text.strip():
            continue
        start = min(piece.start * TIMESTAMP_MS, window.duration_ms)
        end = window.duration_ms if piece.end is None else piece.end * TIMESTAMP_MS
        segments.append(
            Segment(
                start_ms=window.start_ms + start,
                end_ms=window.start_ms + min(max(end, start), window.duration_ms),
                text=text,
                tokens=piece.ids,
                window_start_ms=window.start_ms,
                temperature=decoded.temperature,
                avg_logprob=decoded.avg_logprob,
                compression_ratio=ratio,
                no_speech_prob=decoded.no_speech_prob,
            )
        )
    return segments


def compression_ratio(text: str) -> float:
    """How much smaller zlib makes the text: repetition shows as a high ratio (openai/whisper)."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
