"""Admission control of one model: who may come in, in requests before a body is read and in seconds
of audio once it is decoded.

Of either bound a client has three quarters, so that nobody's archive shuts everybody else out.

What recordings in flight take is bounded too, in memory and on the disk: uploads by their bytes
(uploads.py), decoded audio by its seconds (held_audio.py), and what is being decoded,
DECODES_AT_ONCE times the longest recording, beside it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from math import ceil

from app.admission.arrival import LONG_SECONDS, Arrival, Slot
from app.admission.fair_queue import FairQueue
from app.admission.requests import SHARE, RequestLimit, counted, emptied
from app.admission.throughput import Throughput
from app.errors import DeadlineExceeded, QueueFull
from app.metrics import ModelMetrics

_UNKNOWN_THROUGHPUT = 1.0  # seconds of audio a second, until it is measured
# Beyond what decodes at once: the engine has the next ones at hand while answers are rendered.
# More would only wait inside, where a newcomer cannot pass them.
_AHEAD = 0.25
# Windows from which an engine keeps one from long recordings: whoever comes then finds room.
_SPARES_ONE = 4


class Admission:
    """The queue of one model's windows, and the requests that are bound to it. For the event loop's
    thread.

    throughput: how fast the engine works. limit: the whole service's, in requests.
    """

    def __init__(self, limit: RequestLimit, most_seconds: float, metrics: ModelMetrics) -> None:
        self.throughput = Throughput()
        self._limit = limit
        self._most_seconds = most_seconds
        self._metrics = metrics
        self._full = 1
        self._slots = FairQueue(1)
        self._requests: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._queued: defaultdict[str, dict[str, Arrival]] = defaultdict(dict)
        self._running = 0.0  # seconds of audio
        self._empty = asyncio.Event()
        metrics.audio_queue_limit.set(most_seconds)

    def resize(self, windows: int) -> None:
        """The engine is another one, and decodes so many windows at once."""
        self.throughput = Throughput()
        slots = windows + ceil(_AHEAD * windows)
        full = windows - 1 if windows >= _SPARES_ONE else slots
        self._full = min(windows, full)
        self._slots.resize(slots, full)

    @property
    def under_way(self) -> int:
        """Requests bound to the model that are being received or answered."""
        return self._requests.total()

    @property
    def waiters(self) -> int:
        """Requests that wait until the model serves."""
        return self._waiting.total()

    @contextmanager
    def waiting(self, client: str) -> Generator[None]:
        """Count a request that waits until the model serves. Raises TooManyRequests."""
        with self._limit.wait(client, self._estimate), counted(self._waiting, client):
            yield

    @contextmanager
    def reserved(self, client: str) -> Generator[None]:
        """Keep a place for work whose client will come back for it: there always is one."""
        with self._limit.reserved(client), self.bound(client):
            yield

    @contextmanager
    def place(self, client: str, *, is_retry: bool = False) -> Generator[None]:
        """Count a request for as long as it lasts. A client's retry may take one of the places that
        are reserved for it. Raises TooManyRequests."""
        admitted = self._limit.place(client, is_retry=is_retry, estimate=self._estimate)
        with admitted, self.bound(client):
            yield

    @contextmanager
    def bound(self, client: str) -> Generator[None]:
        """Count a request that the service has let in as this model's: what ends its engine waits
        for it."""
        try:
            with counted(self._requests, client):
                yield
        finally:
            if not self.under_way:
                self._empty.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so long; whether none is."""
        return await emptied(self._empty, lambda: self.under_way, seconds)

    @contextmanager
    def queued(
        self,
        client: str,
        request: str,
        seconds: float,
        client_timeout: float | None = None,
        held_seconds: float | None = None,
    ) -> Generator[Slot]:
        """Queue a recording of which so many seconds are decoded; what its windows get their slots
        by. Raises as `Arrival.admit` does."""
        with self.arriving(client, request) as arrival:
            arrival.admit(seconds, client_timeout, held_seconds)
            yield arrival.slot

    @contextmanager
    def arriving(self, client: str, request: str) -> Generator[Arrival]:
        """Queue a recording's windows while the context lasts, as they are found."""
        with ExitStack() as memory:
            arrival = Arrival(self, client, request, memory)
            mine = self._queued[client]
            mine[request] = arrival
            try:
                yield arrival
            finally:
                del mine[request]
                if not mine:
                    self._queued.pop(client, None)
                self._slots.forget(client, request)
                self.show()

    def may_begin_early(self, seconds: float) -> bool:
        """Whether a recording of which so much is known already may begin before all of it is: a
        long one, while the engine has nothing else to do."""
        return seconds > LONG_SECONDS and not self._slots.waiting

    @contextmanager
    def in_background(self, client: str, request: str) -> Generator[Slot]:
        """Queue a recording that nobody waits for; what its windows get their slots by, behind all
        that somebody waits for. It counts against no bound of the queue: it is no load, but uses
        what is left."""
        try:
            yield partial(self._slot_behind, client, request)
        finally:
            self._slots.forget(client, request)
            self.show()

    def wait_for(self, client: str, seconds: float) -> float | None:
        """How long a recording that comes now takes from here to its last word, at least; None
        where the throughput is not known.

        Slots are shared, so of what others have queued only as much goes before it as it is long.
        """
        if self.throughput.full is None:
            return None
        own = (one.waiting for one in self._queued.get(client, {}).values())
        mine = seconds + sum(min(waiting, seconds) for waiting in own)
        others = (self._queued_by(name) for name in self._queued if name != client)
        return (mine + sum(min(q, mine) for q in others)) / self.throughput.full

    def _estimate(self, client: str, every: int, own: int) -> tuple[float, float]:
        """Seconds until one of all requests, and until one of the client's own, is over."""
        of_all = self._time_for((self._all_queued() + self._running) / every)
        return of_all, self._time_for_one(self._queued_by(client) / own)

    def _check_seconds(self, client: str, seconds: float, held: float) -> None:
        """One recording is never too long for an empty line, nor for a memory without any."""
        own, every = self._queued_by(client), self._all_queued()
        rate = self.throughput.known or _UNKNOWN_THROUGHPUT
        self._limit.held_audio.check(client, held, rate)
        for waiting, whose, most, until in (
            (every, "", self._most_seconds, self._time_for),
            (own, " of yours", SHARE * self._most_seconds, self._time_for_one),
        ):
            if waiting and waiting + seconds > most:
                raise QueueFull(
                    f"{waiting:.0f} s of audio{whose} wait already, and {most:.0f} may.",
                    retry_after=until(waiting + seconds - most),
                )

    def hold(self, client: str, seconds: float) -> AbstractContextManager[None]:
        """Count so much sound as held in memory while the context lasts."""
        return self._limit.held_audio.hold(client, seconds)

    def check(self, client: str, seconds: float, held: float, client_timeout: float | None) -> None:
        """Raises QueueFull, DeadlineExceeded where so many seconds more may not come in."""
        self._check_seconds(client, seconds, held)
        if client_timeout is not None:
            self._check_deadline(client, seconds, client_timeout)

    def _check_deadline(self, client: str, seconds: float, client_timeout: float) -> None:
        needed = self.wait_for(client, seconds)
        if needed is not None and needed > client_timeout:
            raise DeadlineExceeded(
                f"This recording's text takes about {needed:.0f} s from here, and the client gives "
                f"up after {client_timeout:.0f} s. Give it a longer timeout, or ask for a stream.",
                retry_after=needed - client_timeout,
                never_fits=seconds > client_timeout * (self.throughput.full or 0),
            )

    @asynccontextmanager
    async def slot(self, arrival: Arrival, seconds: float) -> AsyncGenerator[None]:
        """Wait until the engine has room for a window, and hold that."""
        client, request, done = arrival.client, arrival.request, 0.0
        try:
            async with self._slots.slot(client, request, seconds, is_long=arrival.is_long):
                arrival.waiting = max(0.0, arrival.waiting - seconds)
                self._running += seconds
                self._note()
                try:
                    yield
                    done = seconds
                finally:
                    self._running -= seconds
        finally:
            self._note(done)

    @asynccontextmanager
    async def _slot_behind(self, client: str, request: str, seconds: float) -> AsyncGenerator[None]:
        done = 0.0
        try:
            async with self._slots.slot(client, request, seconds, behind=True):
                self._note()
                yield
                done = seconds
        finally:
            self._note(done)

    def _note(self, done: float = 0.0) -> None:
        running = self._slots.running
        self.throughput.note(running=running, full=running >= self._full, audio=done)
        self.show()

    def show(self) -> None:
        """Set the gauges of what waits."""
        arrivals = (one for requests in self._queued.values() for one in requests.values())
        self._metrics.requests_queued.set(sum(one.waiting > 0 for one in arrivals))
        self._metrics.windows_queued.set(self._slots.waiting)
        self._metrics.audio_queued.set(self._all_queued())
        self._metrics.capacity.set(self.throughput.known or 0)

    def _all_queued(self) -> float:
        return sum(map(self._queued_by, self._queued))

    def _queued_by(self, client: str) -> float:
        return sum(one.waiting for one in self._queued.get(client, {}).values())

    def _time_for(self, audio: float) -> float:
        return audio / (self.throughput.known or _UNKNOWN_THROUGHPUT)

    def _time_for_one(self, audio: float) -> float:
        """For so much of one client's, who has the engine together with all others that wait."""
        return self._time_for(audio) * max(1, len(self._queued))
