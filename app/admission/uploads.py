"""Uploads under way: the bytes they hold, and which gives way where places are short."""

import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from app.errors import UploadNotStored, UploadStalled

# Bytes a second: less is no upload, but a place held.
_SLOWEST = 2000
# So many are asked of each second from _PATIENT seconds on, and of who keeps others from a place.
# 25 MB, OpenAI's largest, take 14 minutes at the 30 kB/s of a poor mobile connection.
_SLOW = 16_000
_PATIENT = 900


class Receiving:
    """One upload. gave_way: it is to end, for another client has its place already."""

    def __init__(self, client: str, store: "Uploads") -> None:
        self.client = client
        self.begun = store.clock()
        self.received = 0
        self.complete = self.gave_way = False
        self._store = store

    @property
    def seconds(self) -> float:
        """Since its place was given."""
        return self._store.clock() - self.begun

    @property
    def rate(self) -> float:
        """Bytes a second so far; the first second counts whole."""
        return self.received / max(1.0, self.seconds)

    def check_rate(self, idle_seconds: float) -> None:
        """Raises UploadStalled where too little has come for the time, of which the first
        `idle_seconds` do not count."""
        if self.gave_way:
            raise UploadStalled(
                f"{self.received} bytes have come, under {_SLOW} a second, and others wait for a "
                "place. Try again."
            )
        counted = self.seconds - idle_seconds
        due = _SLOWEST * min(counted, _PATIENT) + _SLOW * max(0.0, counted - _PATIENT)
        if self.received < due:
            raise UploadStalled(
                f"{self.received} bytes have come in {self.seconds:.0f} s, too few: at least "
                f"{_SLOWEST} a second are wanted, and {_SLOW} from {_PATIENT} s on."
            )

    def expect(self, size: int) -> None:
        """Raises UploadNotStored where there is no room for an upload of so many bytes."""
        self._store.check_room(size)

    def add(self, size: int) -> None:
        """So many bytes came. Raises UploadNotStored where there is no room for them."""
        self._store.check_room(size)
        self.received += size


class Uploads:
    """Those of one service. `most_bytes` may be held at once, in memory and on the disk."""

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._most_bytes = most_bytes
        self._all: set[Receiving] = set()

    @property
    def leaving(self) -> int:
        """Uploads that gave way and still have their place, for a moment."""
        return sum(one.gave_way for one in self._all)

    @contextmanager
    def receiving(self, client: str) -> Generator[Receiving]:
        """An upload, for as long as its bytes are held."""
        one = Receiving(client, self)
        self._all.add(one)
        try:
            yield one
        finally:
            self._all.discard(one)

    def check_room(self, size: int) -> None:
        """Raises UploadNotStored."""
        held = sum(one.received for one in self._all)
        if held + size > self._most_bytes:
            raise UploadNotStored(
                f"{held} bytes of uploads are held, and {self._most_bytes} may be "
                "(MARLINSCRIBE_MAX_STORED_UPLOAD_BYTES)."
            )

    def make_room(self, client: str, places: Counter[str]) -> bool:
        """Have a slow upload of whoever has most places give way to a client that has fewer than
        its sender will have without it; whether one does. `places`: each client's. An upload that
        is not slow goes on: it is soon over."""
        kept = places - Counter(one.client for one in self._all if one.gave_way)
        slow = [
            one
            for one in self._all
            if not (one.complete or one.gave_way)
            and one.rate < _SLOW
            and kept[one.client] - 1 > kept[client]
        ]
        if not slow:
            return False
        min(slow, key=lambda one: (-kept[one.client], one.rate)).gave_way = True
        return True
