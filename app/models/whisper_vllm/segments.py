"""Assembly of one window's tokens into timed segments, as the tokens arrive."""

import zlib
from collections.abc import Callable, Sequence

from app.models.base import SegmentEvent, TokenLogprob
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

    def feed(self, sampled: Sequence[tuple[int, float]]) -> list[SegmentEvent]:
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

    @property
    def is_open(self) -> bool:
        """Whether there is text that no timestamp has closed."""
        return bool(self._open)

    def tail(self) -> list[SegmentEvent]:
        """What no timestamp closed: it ends where the window does."""
        return self._close(self._window.duration_ms)

    def _close(self, end: int) -> list[SegmentEvent]:
        """The open segment, none where it has no text; times in ms from the window's start."""
        spoken, self._open = self._open, []
        ids = tuple(token for token, _ in spoken)
        text = self._text_of(ids) if ids else ""
        if not text.strip():
            return []
        length = self._window.duration_ms
        start = min(self._start, length)
        content = self._content_of
        return [
            SegmentEvent(
                start_ms=self._window.start_ms + start,
                end_ms=self._window.start_ms + min(max(end, start), length),
                text=text,
                tokens=ids,
                logprobs=tuple(TokenLogprob(content(i), p) for i, p in spoken) if content else (),
            )
        ]


def compression_ratio(text: str) -> float:
    """Return the ratio of a text's size to its size under zlib: repetition shows as a high ratio
    (openai/whisper)."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
