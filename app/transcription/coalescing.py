"""InFlightWork that outlives the connection it was asked on.

OpenAI's SDKs send a request again when their read timeout runs out. What was begun for the first
goes on for a while, and a retry of the same bytes joins it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Hashable
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress

from app.models.base import Segment
from app.replay import Replay
from app.transcription.results import Transcript

Event = Segment | Transcript

_RETURN_SECONDS = 10  # openai's SDKs are back within 8
_LONGEST_KEPT = 600  # seconds, however long a retry's upload takes


class InFlightWork:
    """Runs a transcription and keeps its events for its followers: a client, or its next try."""

    def __init__(self, events: AsyncGenerator[Event]) -> None:
        self.failed: Exception | None = None
        self.followed = asyncio.Event()  # set while anybody does
        self._followers = 0
        self._told: Replay[Event] = Replay()
        self._task = asyncio.create_task(self._run(events))

    async def follow(self) -> AsyncGenerator[Event]:
        """From the first event on. Raises what the work failed with."""
        self._followers += 1
        self.followed.set()
        try:
            async with aclosing(self._told.follow()) as events:
                async for event in events:
                    yield event
            if self.failed:
                raise self.failed
        finally:
            self._followers -= 1
            if not self._followers:
                self.followed.clear()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, events: AsyncGenerator[Event]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    self._told.add(event)
        except Exception as error:  # raised where it is followed
            self.failed = error
        finally:
            self._told.close()


class InFlight:
    """Finds transcriptions that a retry may join. For the event loop's thread."""

    def __init__(self) -> None:
        self._works: dict[Hashable, InFlightWork] = {}
        self._returning: Counter[str] = Counter()
        self._keeping: set[asyncio.Task[None]] = set()

    @contextmanager
    def returning(self, client: str) -> Generator[None]:
        """While a client's retry is being received, nothing that it may join is given up."""
        self._returning[client] += 1
        try:
            yield
        finally:
            self._returning[client] -= 1
            self._returning += Counter()

    def find(self, key: Hashable) -> InFlightWork | None:
        """One that is worth joining."""
        work = self._works.get(key)
        return None if work is None or work.failed else work

    def begin(self, key: Hashable, events: AsyncGenerator[Event]) -> InFlightWork:
        work = self._works[key] = InFlightWork(events)
        return work

    async def follow(
        self,
        key: Hashable,
        work: InFlightWork,
        client: str,
        *,
        will_return: Callable[[], bool],
        place: Callable[[], AbstractContextManager[None]],
    ) -> AsyncGenerator[Event]:
        """The work's events. Where its last follower leaves, it ends, unless that one
        `will_return`: then it goes on in a `place` of its own for a while."""
        answered = False
        try:
            async with aclosing(work.follow()) as events:
                async for event in events:
                    answered = isinstance(event, Transcript)
                    yield event
        finally:
            if not work.followed.is_set():
                if will_return() and not (answered or work.failed):
                    keeping = asyncio.create_task(self._keep(key, work, client, place))
                    self._keeping.add(keeping)
                    keeping.add_done_callback(self._keeping.discard)
                else:
                    await self._end(key, work)

    async def _keep(
        self,
        key: Hashable,
        work: InFlightWork,
        client: str,
        place: Callable[[], AbstractContextManager[None]],
    ) -> None:
        with place(), suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_KEPT):
                while not await _set_within(work.followed, _RETURN_SECONDS):
                    if not self._returning[client]:
                        break
        if not work.followed.is_set():
            await self._end(key, work)

    async def _end(self, key: Hashable, work: InFlightWork) -> None:
        if self._works.get(key) is work:
            del self._works[key]
        await work.stop()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
