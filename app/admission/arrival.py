"""A recording in the queue of a model, from its first windows on."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import Protocol

# Seconds of audio from which a recording is long, which are four windows: what a person waits for
# before a screen is mostly shorter.
LONG_SECONDS = 120.0

# What a window of so many seconds waits in until the engine has room for it, and holds meanwhile.
Slot = Callable[[float], AbstractAsyncContextManager[None]]


class Queue(Protocol):
    """What lets recordings in: Admission."""

    def check(
        self, client: str, seconds: float, held: float, client_timeout: float | None
    ) -> None: ...
    def hold(self, client: str, seconds: float) -> AbstractContextManager[None]: ...
    def slot(self, arrival: "Arrival", seconds: float) -> AbstractAsyncContextManager[None]: ...
    def show(self) -> None: ...


class Arrival:
    """Counts a recording's windows, of which more may be found until it is admitted.

    waiting: seconds of audio that have not had their slot.
    """

    def __init__(self, queue: Queue, client: str, request: str, memory: ExitStack) -> None:
        """`memory` is where the recording counts as held, once it is admitted."""
        self.client, self.request = client, request
        self.waiting = 0.0
        self._known = 0.0  # seconds of audio that are decoded, by the windows so far
        self._queue = queue
        self._memory = memory

    @property
    def is_long(self) -> bool:
        """Whether its windows are many."""
        return self._known > LONG_SECONDS

    def add(self, seconds: float) -> None:
        """Count what is found before the recording is admitted."""
        self._known += seconds
        self.waiting += seconds
        self._queue.show()

    def admit(
        self,
        seconds: float,
        client_timeout: float | None = None,
        held_seconds: float | None = None,
    ) -> None:
        """Let the recording in, of which so many seconds are decoded in all. `held_seconds` of
        sound are in memory, where that is not as much. A client that waits no longer than
        `client_timeout` seconds for its answer is told where that is not enough. Raises QueueFull,
        DeadlineExceeded."""
        held = seconds if held_seconds is None else held_seconds
        left = seconds - (self._known - self.waiting)
        self.waiting = 0.0  # what is its own is not in its way
        self._queue.check(self.client, left, held, client_timeout)
        self._known, self.waiting = seconds, left
        self._memory.enter_context(self._queue.hold(self.client, held))
        self._queue.show()

    def slot(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Return what a window of so many seconds waits in until the engine has room for it."""
        return self._queue.slot(self, seconds)
