"""A recording's transcription in the queue of its model."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing

from app.admission.arrival import Arrival, Slot
from app.admission.control import Admission
from app.transcription.coalescing import Event, InFlightWork
from app.transcription.planning import Plan

# Transcribes a recording by its plans, one or each channel's; windows wait in the slots.
Transcribe = Callable[[Sequence[Plan], Slot], AsyncGenerator[Event]]


class QueuedTranscription:
    """Transcribes a recording, of which the end may not be known yet. For the event loop's thread.

    A long one that is still being decoded begins with its first windows, where the engine has
    nothing else to do. Nobody is told of that before all of it has come and is let in: what is to
    be refused is refused as if nothing had begun.
    """

    def __init__(self, admission: Admission, client: str, name: str, work: Transcribe) -> None:
        """`name` is the request's in the queue, of its client's."""
        self._admission = admission
        self._client, self._name = client, name
        self._transcribe = work
        self._left = ExitStack()
        self._arrival: Arrival | None = None
        self._work: InFlightWork | None = None

    def look(self, plan: Plan) -> None:
        """Take the window that the recording's plan has just got."""
        if self._arrival:
            self._arrival.add(plan.windows[-1].duration_ms / 1000)
        elif self._admission.may_begin_early(plan.decoded_seconds):
            self._arrive().add(plan.decoded_seconds)
            self._begin([plan])

    async def events(
        self, plans: Sequence[Plan], until: float | None
    ) -> AsyncGenerator[Event | None]:
        """Yield None once the recording is let in, then its events. `until`: when its client gives
        up, by time.perf_counter(). Raises QueueFull, DeadlineExceeded first."""
        try:
            self._arrive().admit(
                sum(one.decoded_seconds for one in plans),
                None if until is None else until - time.perf_counter(),
                held_seconds=sum(one.seconds for one in plans),
            )
            yield None
            async with aclosing(self._begin(plans).follow()) as events:
                async for event in events:
                    yield event
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End what is under way, and leave the queue."""
        if self._work:
            await self._work.stop()
        self._left.close()

    def _arrive(self) -> Arrival:
        """Enter the queue, where that has not been done."""
        if self._arrival is None:
            arriving = self._admission.arriving(self._client, self._name)
            self._arrival = self._left.enter_context(arriving)
        return self._arrival

    def _begin(self, plans: Sequence[Plan]) -> InFlightWork:
        """Begin, where that has not been done, or has failed: another engine may serve by now."""
        if self._work is None or self._work.failed:
            self._work = InFlightWork(self._transcribe(plans, self._arrive().slot))
        return self._work
