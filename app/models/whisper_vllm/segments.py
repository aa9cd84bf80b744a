"""Assembly of one window's tokens into timed segments, as the tokens arrive."""

import zlib
from collections.abc import Callable, Sequence

from app.models.base import Segment, TokenLogprob
from app.models.whisper_vllm.tokens import TIMESTAMP_MS, SpecialTokens
from app.speech.windows import Window


class Segmenter:
    """Closes a segment at each timestamp that follows text.

    Times stay inside the window. Every text token ends up in exactly one segment: one that a
    timestamp closed, or the tail.
    """

    def __init__(
        self,
        window: Window,
        tokens: SpecialTokens,
        text_of: Callable[[Sequence[int]], str],
        content_of: Callable[[int], bytes] | None = None,
    ) -> None:
        """`content_of` gives a token's bytes, where log-probabilities are to be told."""
        self._window = window
        self._tokens = tokens
        self._text_of = text_of
        self._content_of = content_of
        self._start = 0  # ms from the window's start
        self._open: list[tuple[int, float]] = []

    def feed(self, sampled: Sequence[tuple[int, float]]) -> list[Segment]:
        """The segments that these tokens, each with its log-probability, close."""
        closed = []
        for token, logprob in sampled:
            if token not in self._tokens.timestamps:
                self._open.append((token, logprob))
                continue
            at = (token - self._tokens.first_timestamp) * TIMESTAMP_MS
            closed += self._close(at)
            self._start = at
        return closed

    def tail(self) -> Segment | None:
        """What no timestamp has closed so far, as if it ended where the window does. It stays
        open."""
        return self._segment(self._window.duration_ms)

    def _close(self, end: int) -> list[Segment]:
        """The open segment, none where it has no text; times in ms from the window's start."""
        segment = self._segment(end)
        self._open = []
        return [segment] if segment else []

    def _segment(self, end: int) -> Segment | None:
        """What is open, as a segment that ends at `end` ms from the window's start."""
        ids = tuple(token for token, _ in self._open)
        text = self._text_of(ids) if ids else ""
        if not text.strip():
            return None
        window, content = self._window, self._content_of
        start = window.time_of(self._start)
        return Segment(
            start_ms=start,
            end_ms=max(start, window.time_of(max(end, self._start), is_end=True)),
            text=text,
            tokens=ids,
            logprobs=tuple(TokenLogprob(content(i), p) for i, p in self._open) if content else (),
        )


def compression_ratio(text: str) -> float:
    """Return the ratio of a text's size to its size under zlib: repetition shows as a high ratio
    (openai/whisper)."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
