"""A recording's samples as they come out of its decoder: what looks through them need not wait for
the last one."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from app.audio import handover
from app.audio.waveform import Pcm

_BETWEEN = 0.02  # seconds between two looks


class Incoming(Protocol):
    """A recording that may still be coming, for one reader. pcm: room for all of it, shape (n,), of
    which the first `count` samples are there."""

    pcm: Pcm
    count: int

    def more(self) -> bool:
        """Wait until there is more than `count` tells, which grows then; False where that is all.
        Raises NoMoreComes."""
        ...


Follow = Callable[[Incoming], None]  # has somebody read it, in a thread of theirs


class NoMoreComes(Exception):
    """A recording is given up before its end: nobody is to have what came of it."""


class Whole:
    """A recording that is there."""

    def __init__(self, pcm: Pcm) -> None:
        self.pcm, self.count = pcm, 0

    def more(self) -> bool:
        known, self.count = self.count, len(self.pcm)
        return known < self.count


@contextmanager
def followed(room: int, follow: Follow | None) -> Generator[Callable[[int], None]]:
    """Have somebody follow a recording into a room (handover.py), until the function is called that
    is yielded, with how many samples it has; it is given up where the context is left without."""
    if follow is None:
        yield lambda _: None
        return
    incoming = _Written(room)
    follow(incoming)
    try:
        yield incoming.end
    finally:
        incoming.give_up()


class _Written:
    """What a child writes into a room. Only the reader's thread looks at `count`."""

    def __init__(self, room: int) -> None:
        self.pcm, self.count = handover.whole(room), 0
        self._room = room
        self._length: int | None = None
        self._over = threading.Event()
        self._looking = threading.Lock()  # the room is closed once this is over

    def more(self) -> bool:
        while not self._over.wait(_BETWEEN):
            if (count := self._written()) > self.count:
                self.count = count
                return True
        if self._length is None:
            raise NoMoreComes
        known, self.count = self.count, self._length
        return known < self.count

    def end(self, length: int) -> None:
        """That was all: so many samples."""
        self._length = length
        self._over.set()

    def give_up(self) -> None:
        """Nothing is read from the room any more; unless it has ended, no more comes."""
        with self._looking:
            self._over.set()

    def _written(self) -> int:
        with self._looking:
            return 0 if self._over.is_set() else handover.written(self._room)
