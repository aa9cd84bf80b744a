"""The pauses between restarts of an engine, and the number after which they end."""

import time
from collections.abc import Callable

_FIRST, _LONGEST = 1.0, 60.0  # seconds of pause, doubled from the one to the other
_GOOD_WHILE = 300.0  # seconds of service after which a death is a new misfortune, not the old one


class Restarts:
    """Counts losses of the engine: deaths, and starts that failed.

    in_a_row: losses since an engine last served for five minutes.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.in_a_row = 0
        self._clock = clock
        self._served_from: float | None = None
        self._due_at = 0.0

    def serves(self) -> None:
        """Note that an engine serves from now on."""
        self._served_from = self._clock()

    def lost(self) -> float | None:
        """Count a loss: an engine died or did not start. Return the pause in seconds before the
        next start, or None where there have been enough."""
        now = self._clock()
        if self._served_from is not None and now - self._served_from >= _GOOD_WHILE:
            self.in_a_row = 0
        self._served_from = None
        if self.in_a_row >= self.most:
            return None
        pause = min(_LONGEST, _FIRST * 2.0**self.in_a_row)
        self.in_a_row += 1
        self._due_at = now + pause
        return pause

    @property
    def due(self) -> bool:
        """Whether the pause is over."""
        return self._clock() >= self._due_at
