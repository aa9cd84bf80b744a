"""What comes of a window, held back while the service has no use for it: a message for each token
interrupts the steps of the engine, on the same processors."""

from app.models.whisper_vllm.decoder import LONG, Step

_TOGETHER = LONG // 2  # tokens of a segment; where the decoder looks at one, it is told as ever
_LONGEST = 1.0  # seconds that a token is held back


class Untold:
    """What came of a window since it was last told."""

    def __init__(self, closings: range) -> None:
        """closings: tokens that close a segment, which a client may be waiting for."""
        self._closings = closings
        self._steps: list[Step] = []
        self._waits: list[float] = []
        self._last = self._told = 0.0
        self._open = 0  # tokens since a segment was closed

    def add(self, step: Step, tokens: int, now: float) -> bool:
        """Take a step that brought so many tokens at a time in seconds. Whether it is to be told
        now: as the first, as one that closes a segment, makes it longer by _TOGETHER or ends the
        window, or since too much time has passed."""
        if self._last and tokens:
            self._waits += tokens * [(now - self._last) / tokens]
        self._last = now
        self._steps.append(step)
        closes = any(token in self._closings for token, _ in step.sampled)
        before, self._open = self._open, 0 if closes else self._open + len(step.sampled)
        is_longer = self._open // _TOGETHER > before // _TOGETHER
        is_news = bool(step.first or closes or is_longer or step.ended)
        return is_news or now - self._told >= _LONGEST

    def take(self) -> tuple[Step, tuple[float, ...]]:
        """Return all that is held as one step, and the seconds between its tokens and those before
        them. From here on it is told."""
        held, waits = self._steps, tuple(self._waits)
        self._steps, self._waits, self._told = [], [], self._last
        first = next((step.first for step in held if step.first), None)
        sampled = tuple(one for step in held for one in step.sampled)
        return Step(sampled, first, held[-1].ended), waits
