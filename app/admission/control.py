"""The queue's bounds: in requests before a body is read, in seconds of audio once it is decoded.

Of either bound a client has three quarters, so that nobody's archive shuts everybody else out.

What recordings in flight take is bounded by that, in memory and on the disk: uploads by their bytes
(app.admission.uploads); decoded audio by `most_held` seconds of 64 kB (16,000 samples a second of 4
bytes each), and what is being decoded, DECODES_AT_ONCE times the longest recording, beside it.
"""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from math import ceil, inf

from app.admission.fair_queue import FairQueue
from app.admission.throughput import Throughput
from app.admission.uploads import Uploads
from app.errors import DeadlineExceeded, QueueFull, TooManyRequests
from app.metrics import Metrics
from app.transcription.results import Turn

_SHARE = 0.75
DECODES_AT_ONCE = 2  # each may hold max_audio_seconds of samples
_UNKNOWN_PACE = 1.0  # seconds of audio a second, until it is measured
# Beyond what decodes at once: the engine has the next ones at hand while answers are rendered.
# More would only wait inside, where a newcomer cannot pass them.
_AHEAD = 0.25


class Admission:
    """For the event loop's thread."""

    def __init__(
        self,
        most_requests: int,
        most_seconds: float,
        metrics: Metrics,
        *,
        most_held: float = inf,
        most_upload_bytes: int = sys.maxsize,
    ) -> None:
        """`most_seconds` of audio may wait, and `most_held` be in memory, waiting or not, until its
        text is there; `most_upload_bytes` of uploads likewise until they are decoded."""
        self.pace = Throughput()
        self.uploads = Uploads(most_upload_bytes)
        self._most_requests = most_requests
        self._most_seconds = most_seconds
        self._most_held = most_held
        self._metrics = metrics
        self._windows = 1
        self._turns = FairQueue(1)
        # Decoding takes turns as well, by bytes: an archive's would keep a clip's waiting.
        self.decodings = FairQueue(DECODES_AT_ONCE)
        self._requests: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        # Seconds of audio that have not had their turn: by client, by request.
        self._queued: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._held: Counter[str] = Counter()  # seconds of audio in memory, by client
        self._running = 0.0  # seconds of audio
        self._empty = asyncio.Event()
        metrics.audio_queue_limit.set(most_seconds)
        metrics.requests_limit.set(most_requests)

    def resize(self, windows: int) -> None:
        """The engine is another one, and decodes so many at once."""
        self.pace = Throughput()
        self._windows = windows
        self._turns.resize(windows + ceil(_AHEAD * windows))

    @property
    def under_way(self) -> int:
        """Transcriptions being received or answered."""
        return self._requests.total()

    @property
    def waiters(self) -> int:
        """Transcriptions that wait for a place."""
        return self._waiting.total()

    @contextmanager
    def waiting(self, client: str) -> Generator[None]:
        """A request's wait for a place, while there are none. Raises TooManyRequests."""
        self._check_requests(client)
        self._waiting[client] += 1
        try:
            yield
        finally:
            self._waiting[client] -= 1
            self._waiting += Counter()  # forgets who has none left

    @contextmanager
    def kept(self, client: str) -> Generator[None]:
        """The place of work that waits for its client to come back: there is always one."""
        self._kept[client] += 1
        try:
            with self._counted(client):
                yield
        finally:
            self._kept[client] -= 1
            self._kept += Counter()

    @contextmanager
    def place(self, client: str, *, back: bool = False) -> Generator[None]:
        """One request's, for as long as it lasts. A client that is `back` may be so for work that
        is kept: those places are its own. Raises TooManyRequests."""
        self._check_requests(client, back=back)
        with self._counted(client):
            yield

    @contextmanager
    def _counted(self, client: str) -> Generator[None]:
        self._requests[client] += 1
        self._metrics.requests_in_flight.set(self.under_way)
        try:
            yield
        finally:
            self._requests[client] -= 1
            self._requests += Counter()
            self._metrics.requests_in_flight.set(self.under_way)
            if not self.under_way:
                self._empty.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so long; whether none is."""
        self._empty.clear()
        if self.under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self.under_way

    @contextmanager
    def queued(
        self, client: str, request: str, seconds: float, patience: float | None = None
    ) -> Generator[Turn]:
        """A recording's place in line, and how its windows get their turns. A client that waits no
        longer than `patience` seconds for its answer is told where that is not enough. Raises
        QueueFull, DeadlineExceeded."""
        self._check_seconds(client, seconds)
        if patience is not None:
            self._check_patience(client, seconds, patience)
        mine = self._queued[client]
        mine[request] = seconds
        samples = ceil(seconds)  # whole seconds: sums of fractions would not come back to zero
        self._held[client] += samples
        self._show()
        try:
            yield partial(self._turn, client, request)
        finally:
            self._held[client] -= samples
            self._held += Counter()
            del mine[request]
            if not mine:
                self._queued.pop(client, None)
            self._turns.forget(client, request)
            self._show()

    def wait_for(self, client: str, seconds: float) -> float | None:
        """How long a recording that comes now takes from here to its last word, at least; None
        where the pace is not known.

        Slots are shared, so of what others have queued only as much goes before it as it is long.
        """
        if self.pace.full is None:
            return None
        mine = seconds + sum(min(q, seconds) for q in self._queued.get(client, {}).values())
        others = (sum(theirs.values()) for name, theirs in self._queued.items() if name != client)
        return (mine + sum(min(q, mine) for q in others)) / self.pace.full

    def _check_requests(self, client: str, *, back: bool = False) -> None:
        """Raises TooManyRequests where there is no place for one more."""
        kept = self._kept[client] if back else 0
        own = self._requests[client] + self._waiting[client] - kept
        every = self.under_way + self.waiters - kept - self.uploads.leaving
        until_one_is_done = self._time_for((self._all_queued() + self._running) / max(1, every))
        until_one_of_mine = self._time_for_one(self._queued_by(client) / max(1, own))
        if every >= self._most_requests and not self.uploads.make_room(client, self._requests):
            raise TooManyRequests(
                f"{every} requests are under way, the limit of this server.",
                retry_after=until_one_is_done,
            )
        if own >= ceil(_SHARE * self._most_requests):
            raise TooManyRequests(
                f"{own} requests of yours are under way, as many as one client may have here.",
                retry_after=max(until_one_is_done, until_one_of_mine),
            )

    def _check_seconds(self, client: str, seconds: float) -> None:
        """One recording is never too long for an empty line, nor for a memory without any."""
        own, every = self._queued_by(client), self._all_queued()
        held, mine = self._held.total(), self._held[client]
        for there, whose, most in (
            (held, "", self._most_held),
            (mine, " of yours", _SHARE * self._most_held),
        ):
            if there and there + seconds > most:
                raise QueueFull(
                    f"{there:.0f} s of audio{whose} are in memory, and {most:.0f} may be.",
                    retry_after=self._time_for(there + seconds - most),
                )
        for waiting, whose, most, until in (
            (every, "", self._most_seconds, self._time_for),
            (own, " of yours", _SHARE * self._most_seconds, self._time_for_one),
        ):
            if waiting and waiting + seconds > most:
                raise QueueFull(
                    f"{waiting:.0f} s of audio{whose} wait already, and {most:.0f} may.",
                    retry_after=until(waiting + seconds - most),
                )

    def _check_patience(self, client: str, seconds: float, patience: float) -> None:
        needed = self.wait_for(client, seconds)
        if needed is not None and needed > patience:
            raise DeadlineExceeded(
                f"This recording's text takes about {needed:.0f} s from here, and the client gives "
                f"up after {patience:.0f} s. Give it a longer timeout, or ask for a stream.",
                retry_after=needed - patience,
                never_fits=seconds > patience * (self.pace.full or 0),
            )

    @asynccontextmanager
    async def _turn(self, client: str, request: str, seconds: float) -> AsyncGenerator[None]:
        done = 0.0
        try:
            async with self._turns.turn(client, request, seconds):
                mine = self._queued[client]
                mine[request] = max(0.0, mine[request] - seconds)
                self._running += seconds
                self._note()
                try:
                    yield
                    done = seconds
                finally:
                    self._running -= seconds
        finally:
            self._note(done)

    def _note(self, done: float = 0.0) -> None:
        running = self._turns.running
        self.pace.note(running=running, full=running >= self._windows, audio=done)
        self._show()

    def _show(self) -> None:
        waiting = (audio > 0 for requests in self._queued.values() for audio in requests.values())
        self._metrics.requests_queued.set(sum(waiting))
        self._metrics.windows_queued.set(self._turns.waiting)
        self._metrics.audio_queued.set(self._all_queued())
        self._metrics.capacity.set(self.pace.known or 0)

    def _all_queued(self) -> float:
        return sum(sum(requests.values()) for requests in self._queued.values())

    def _queued_by(self, client: str) -> float:
        return sum(self._queued.get(client, {}).values())

    def _time_for(self, audio: float) -> float:
        return audio / (self.pace.known or _UNKNOWN_PACE)

    def _time_for_one(self, audio: float) -> float:
        """For so much of one client's, who has the engine together with all others that wait."""
        return self._time_for(audio) * max(1, len(self._queued))
