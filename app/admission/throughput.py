"""The engine's throughput, measured while it works."""

import time
from collections.abc import Callable

_MEMORY = 60.0  # seconds of work after which what was measured counts for half
_LONGEST = 60.0  # seconds between two changes that are work: longer ones are a standstill
_ENOUGH = 3  # windows, before a rate is believed


class _Rate:
    """A rate of audio by working time, in which the latest counts most."""

    def __init__(self) -> None:
        self._audio = self._time = 0.0
        self._windows = 0

    def add(self, audio: float, seconds: float) -> None:
        keep = 0.5 ** (seconds / _MEMORY)
        self._audio = self._audio * keep + audio
        self._time = self._time * keep + seconds
        self._windows += audio > 0

    @property
    def value(self) -> float | None:
        believed = self._windows >= _ENOUGH and self._time > 0 and self._audio > 0
        return self._audio / self._time if believed else None


class Throughput:
    """Measures seconds of audio a second; None until enough is known.

    full: with every slot taken. busy: with any slot taken, a lower bound, as a lone window leaves
    most of the engine idle.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full, self._busy = _Rate(), _Rate()
        self._since = clock()
        self._state = (False, False)

    @property
    def full(self) -> float | None:
        return self._full.value

    @property
    def known(self) -> float | None:
        return self._full.value or self._busy.value

    def note(self, *, running: int, full: bool, audio: float = 0.0) -> None:
        """Note a change: the state until now ends, `audio` seconds were done in it, and from here
        on so many windows run."""
        now = self._clock()
        worked = min(now - self._since, _LONGEST)
        was_busy, was_full = self._state
        if was_busy:
            self._busy.add(audio, worked)
        if was_full:
            self._full.add(audio, worked)
        self._since, self._state = now, (running > 0, full)
