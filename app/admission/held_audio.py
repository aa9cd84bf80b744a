"""Decoded audio that the service holds in memory, waiting or not, until its text is there."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil, inf

from app.errors import QueueFull

_SHARE = 0.75  # of the bound that one client may have


class HeldAudio:
    """Bounds the seconds of decoded audio in memory, of 32 kB each (16,000 samples of 2 bytes). A
    single recording is held however long it is."""

    def __init__(self, most_seconds: float = inf) -> None:
        self._most = most_seconds
        self._held: Counter[str] = Counter()  # seconds, by client

    @contextmanager
    def hold(self, client: str, seconds: float) -> Generator[None]:
        """Count a recording while the context lasts."""
        whole = ceil(seconds)  # sums of fractions would not come back to zero
        self._held[client] += whole
        try:
            yield
        finally:
            self._held[client] -= whole
            self._held += Counter()

    def check(self, client: str, seconds: float, throughput: float) -> None:
        """Raises QueueFull where there is no room for one more recording. `throughput`, in seconds
        of audio a second, says when there is."""
        for there, whose, most in (
            (self._held.total(), "", self._most),
            (self._held[client], " of yours", _SHARE * self._most),
        ):
            if there and there + seconds > most:
                raise QueueFull(
                    f"{there:.0f} s of audio{whose} are in memory, and {most:.0f} may be.",
                    retry_after=(there + seconds - most) / throughput,
                )
