"""A fair queue: whose work is next.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) on two levels: among clients, and
among the requests of each. What is shared is the size of the work (seconds of audio in the engine,
bytes to decode), so an hour of somebody's archive does not keep three seconds of somebody else's
waiting.

Whose turn comes next is not enough for that: three seconds share the machine with all that has had
its turn. So long work never takes the last slot, and few slots while short work comes in.

Work that nobody waits for (`behind`) counts as long, and is shared in the same way, in a line of
its own that is served only while the other one is empty.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

# Seconds after short work was last seen in which long work leaves it room: who sends one clip after
# another is expected back.
_EXPECTED_SECONDS = 10.0
# For long work meanwhile: the share of the slots, and the most of them, since each window more
# makes every other's step longer, however many there is room for.
_LONG_SHARE, _MOST_LONG = 0.25, 5


@dataclass(eq=False)
class Waiter:
    """A piece of work that waits for its slot. is_long: whether it is one of many. taken: whether
    it has left the line."""

    size: float
    is_long: bool
    turn: asyncio.Future[None]
    taken: bool = False

    @property
    def left(self) -> bool:
        """Whether the piece's task was cancelled. That may be before the task gets to know of it,
        and other pieces end meanwhile."""
        return self.turn.cancelled()


_Allowed = Callable[[Waiter], bool]


class _Line(Protocol):
    def put(self, path: Sequence[str], waiter: Waiter) -> None: ...
    def offers(self, allowed: _Allowed) -> bool: ...
    def take(self, allowed: _Allowed) -> Waiter: ...
    def drop(self, path: Sequence[str], waiter: Waiter) -> None: ...
    def forget(self, path: Sequence[str]) -> None: ...
    def __len__(self) -> int: ...


class _InOrder:
    """The pieces of one request, in the order they came."""

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()

    def put(self, _: Sequence[str], waiter: Waiter) -> None:
        self._waiters.append(waiter)

    def offers(self, allowed: _Allowed) -> bool:
        return bool(self._waiters) and allowed(self._waiters[0])

    def take(self, _: _Allowed) -> Waiter:
        waiter = self._waiters.popleft()
        waiter.taken = True
        return waiter

    def drop(self, _: Sequence[str], waiter: Waiter) -> None:
        self._waiters.remove(waiter)

    def forget(self, path: Sequence[str]) -> None:
        pass

    def __len__(self) -> int:
        return len(self._waiters)


L = TypeVar("L", bound=_Line)


@dataclass
class _Member(Generic[L]):
    """One member of a line. `had`: the work that it was given, and what the others had before it
    came."""

    line: L
    had: float


class _ByShare(Generic[L]):
    """A line in which the member that was given least is next."""

    def __init__(self, kind: type[L]) -> None:
        self._kind = kind
        self._members: dict[str, _Member[L]] = {}
        self._reached = 0.0  # what the last one taken from had

    def put(self, path: Sequence[str], waiter: Waiter) -> None:
        name, *rest = path
        # A newcomer begins where the others are: nobody saves up turns while away.
        member = self._members.setdefault(name, _Member(self._kind(), self._reached))
        member.line.put(rest, waiter)

    def offers(self, allowed: _Allowed) -> bool:
        """Whether any member's next piece is allowed."""
        return any(member.line.offers(allowed) for member in self._members.values())

    def take(self, allowed: _Allowed) -> Waiter:
        offering = (m for m in self._members.values() if m.line.offers(allowed))
        member = min(offering, key=lambda m: m.had)
        waiter = member.line.take(allowed)
        self._reached = member.had
        member.had += 0.0 if waiter.left else waiter.size
        self._forget()
        return waiter

    def drop(self, path: Sequence[str], waiter: Waiter) -> None:
        name, *rest = path
        self._members[name].line.drop(rest, waiter)
        self._forget()

    def __len__(self) -> int:
        return sum(len(member.line) for member in self._members.values())

    def forget(self, path: Sequence[str]) -> None:
        """Drop a member that does not come again."""
        name, *rest = path
        if member := self._members.get(name):
            if rest:
                member.line.forget(rest)
            elif not member.line:
                del self._members[name]

    def _forget(self) -> None:
        """Drop members that are as good as new."""
        self._members = {
            name: member
            for name, member in self._members.items()
            if member.line or member.had > self._reached
        }


class _OfClient(_ByShare[_InOrder]):
    def __init__(self) -> None:
        super().__init__(_InOrder)


class FairQueue:
    """Runs a bounded number of pieces of work at once and queues the others fairly. For the event
    loop's thread.

    slots: of all pieces. full: of long ones, where nothing else is there; as many, unless said.
    """

    def __init__(
        self, slots: int, full: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._line: _ByShare[_OfClient] = _ByShare(_OfClient)
        self._behind: _ByShare[_OfClient] = _ByShare(_OfClient)
        self._short_running = self._long_running = 0
        self._short_seen = -_EXPECTED_SECONDS
        self.resize(slots, full)

    @property
    def running(self) -> int:
        return self._short_running + self._long_running

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def waiting_behind(self) -> int:
        return len(self._behind)

    def resize(self, slots: int, full: int | None = None) -> None:
        """Change the number of slots; whoever has a slot keeps it."""
        self._slots, self._full = slots, full or slots
        self._give()

    def forget(self, client: str, request: str) -> None:
        """Drop a request that is over. An empty queue forgets what each client was given."""
        self._line.forget((client, request))
        self._behind.forget((client, request))
        if not self.running and not self._line and not self._behind:
            self._line, self._behind = _ByShare(_OfClient), _ByShare(_OfClient)

    @asynccontextmanager
    async def slot(
        self,
        client: str,
        request: str,
        size: float,
        *,
        is_long: bool = False,
        behind: bool = False,
    ) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it until the context is left; `behind` all that somebody waits
        for."""
        waiter = Waiter(size, is_long or behind, asyncio.get_running_loop().create_future())
        path, line = (client, request), self._behind if behind else self._line
        line.put(path, waiter)
        self._see(waiter)
        self._give()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if not waiter.taken:
                line.drop(path, waiter)
            elif not waiter.left:  # it was given its turn in the same moment
                self._end(waiter)
            raise
        try:
            yield
        finally:
            self._end(waiter)

    def _end(self, waiter: Waiter) -> None:
        self._count(waiter, -1)
        self._see(waiter)
        self._give()

    def _give(self) -> None:
        while self.running < self._slots:
            line = self._line or self._behind
            if not line.offers(self._may_run):
                return
            waiter = line.take(self._may_run)
            if not waiter.left:
                self._count(waiter, 1)
                waiter.turn.set_result(None)

    def _count(self, waiter: Waiter, change: int) -> None:
        if waiter.is_long:
            self._long_running += change
        else:
            self._short_running += change

    def _see(self, waiter: Waiter) -> None:
        if not waiter.is_long:
            self._short_seen = self._clock()

    def _may_run(self, waiter: Waiter) -> bool:
        return not waiter.is_long or self._long_running < self._long_slots()

    def _long_slots(self) -> int:
        """How many slots long work may have now, one at least."""
        quiet = self._clock() - self._short_seen >= _EXPECTED_SECONDS
        if quiet and not self._short_running:
            return self._full
        return max(1, min(_MOST_LONG, int(_LONG_SHARE * self._full)))
