"""How many requests may be under way, in the whole service and for one client."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from math import ceil, inf

from app.admission.fair_queue import FairQueue
from app.admission.held_audio import HeldAudio
from app.admission.uploads import Uploads
from app.errors import TooManyRequests
from app.metrics import Metrics

SHARE = 0.75  # of a bound that one client may have: nobody's archive shuts everybody else out
DECODES_AT_ONCE = 2  # each may hold max_audio_seconds of samples

# Of a client and of how many requests are under way, all and its own: seconds until one of all, and
# one of its own, is over.
Estimate = Callable[[str, int, int], tuple[float, float]]


def no_estimate(client: str, every: int, own: int) -> tuple[float, float]:
    return 2.0, 2.0


class RequestLimit:
    """Counts requests from before their bodies are read until they are answered. For the event
    loop's thread.

    audio_decoding: slots in which uploads are decoded, shared fairly by bytes. uploads: those that
    are held, and which of them give way. held_audio: what is decoded of them.
    """

    def __init__(
        self,
        most: int,
        metrics: Metrics,
        *,
        most_upload_bytes: int = sys.maxsize,
        most_held_seconds: float = inf,
    ) -> None:
        self.uploads = Uploads(most_upload_bytes)
        self.held_audio = HeldAudio(most_held_seconds)
        self.audio_decoding = FairQueue(DECODES_AT_ONCE, DECODES_AT_ONCE - 1)
        self._most = most
        self._metrics = metrics
        self._requests: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._empty = asyncio.Event()
        metrics.requests_limit.set(most)

    @property
    def under_way(self) -> int:
        """Transcriptions being received or answered."""
        return self._requests.total()

    @property
    def waiting(self) -> int:
        """Transcriptions that wait until a model serves."""
        return self._waiting.total()

    def requests_of(self, client: str) -> int:
        return self._requests[client] + self._waiting[client]

    @contextmanager
    def wait(self, client: str, estimate: Estimate = no_estimate) -> Generator[None]:
        """Count a request that waits until a model serves. Raises TooManyRequests."""
        self.check(client, estimate=estimate)
        with counted(self._waiting, client):
            yield

    @contextmanager
    def place(
        self, client: str, *, is_retry: bool = False, estimate: Estimate = no_estimate
    ) -> Generator[None]:
        """Count a request for as long as it lasts. A client's retry may take one of the places that
        are reserved for it. Raises TooManyRequests."""
        self.check(client, is_retry=is_retry, estimate=estimate)
        with self._under_way(client):
            yield

    @contextmanager
    def reserved(self, client: str) -> Generator[None]:
        """Keep a place for work whose client will come back for it: there always is one."""
        with counted(self._reserved, client), self._under_way(client):
            yield

    def check(
        self, client: str, *, is_retry: bool = False, estimate: Estimate = no_estimate
    ) -> None:
        """Raises TooManyRequests where there is no place for one more."""
        reserved = self._reserved[client] if is_retry else 0
        own = self.requests_of(client) - reserved
        every = self.under_way + self.waiting - reserved - self.uploads.leaving
        until_any, until_own = estimate(client, max(1, every), max(1, own))
        if every >= self._most and not self.uploads.make_room(client, self._requests):
            raise TooManyRequests(
                f"{every} requests are under way, the limit of this server.", retry_after=until_any
            )
        if own >= ceil(SHARE * self._most):
            raise TooManyRequests(
                f"{own} requests of yours are under way, as many as one client may have here.",
                retry_after=max(until_any, until_own),
            )

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so long; whether none is."""
        return await emptied(self._empty, lambda: self.under_way, seconds)

    @contextmanager
    def _under_way(self, client: str) -> Generator[None]:
        with counted(self._requests, client):
            self._metrics.requests_in_flight.set(self.under_way)
            try:
                yield
            finally:
                left = self.under_way - 1
                self._metrics.requests_in_flight.set(left)
                if not left:
                    self._empty.set()


async def emptied(empty: asyncio.Event, under_way: Callable[[], int], seconds: float) -> bool:
    """Wait for `empty`, which is set when the last of what is `under_way` ends; whether it did."""
    empty.clear()
    if under_way():
        with suppress(TimeoutError):
            await asyncio.wait_for(empty.wait(), seconds)
    return not under_way()


@contextmanager
def counted(counter: Counter[str], client: str) -> Generator[None]:
    """One more of a client's while the context lasts; who has none left is forgotten."""
    counter[client] += 1
    try:
        yield
    finally:
        counter[client] -= 1
        if not counter[client]:
            del counter[client]
