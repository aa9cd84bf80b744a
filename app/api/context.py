"""What routes know of the service: one object on the app, given to each by dependency."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from app.asr.transcript import Transcriber
from app.checkpoints.order import Order
from app.checkpoints.proof import Proof
from app.checkpoints.recipe import Recordings
from app.errors import EngineFailed, NotReady, TooManyRequests, UnknownModel
from app.jobs import Job, Jobs
from app.metrics import Metrics
from app.settings import Settings
from app.startup import Stage, Startup, Status

_DECODES_AT_ONCE = 2  # each may hold max_audio_seconds of samples


@dataclass
class Served:
    """The model that answers. `facts` are ours, beside OpenAI's fields in /v1/models."""

    name: str
    since: int
    transcriber: Transcriber
    facts: dict[str, Any] = field(default_factory=dict)


class Quantizing(Protocol):
    """What `api` knows of quantization."""

    jobs: Jobs

    async def submit(self, order: Order) -> tuple[Job, bool]:
        """The job for an order, and whether it is new. Raises BadField, JobsFull."""
        ...

    async def report(self, job: Job) -> Proof:
        """A job's whole proof. Raises JobConflict where there is none yet."""
        ...

    async def promote(self, job_id: str, own: Recordings | None) -> Job:
        """Begin to serve a proven checkpoint, tried on `own` canaries where they are given.
        Raises UnknownJob, JobConflict, BadField."""
        ...

    async def roll_back(self) -> dict[str, Any]:
        """Serve what was served before the last promotion: its fingerprint and scheme. Raises
        JobConflict, StartupError."""
        ...


@dataclass
class Context:
    """`served` is None until the start is over; `alive` asks the engine."""

    settings: Settings
    startup: Startup
    metrics: Metrics
    served: Served | None = None
    quantization: Quantizing | None = None
    alive: Callable[[], bool] = lambda: True
    under_way: int = 0  # transcriptions being received or answered
    waiting: int = 0  # and those that wait for an exchange to be over
    decoders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_DECODES_AT_ONCE, "decode")
    )
    _empty: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self) -> Status:
        """Where the service stands; an engine's death shows here before the watch notices it."""
        status = self.startup.status
        if status.stage is Stage.READY and not (self.served and self.alive()):
            return Status(Stage.FAILED, error=EngineFailed("The engine's process died.", ""))
        return status

    async def admitted(self) -> Served:
        """What serves, for a request that comes now: it waits, in a bounded queue and for a
        bounded time, while one checkpoint is exchanged for another. Raises NotReady,
        TooManyRequests."""
        if self.status().stage is Stage.EXCHANGING:
            self._check_room()
            self.waiting += 1
            try:
                await self.startup.left(Stage.EXCHANGING, self.settings.exchange_wait_seconds)
            finally:
                self.waiting -= 1
        return self.ready()

    def enter(self) -> None:
        """One request more is under way. Raises TooManyRequests."""
        self._check_room()
        self.under_way += 1

    def leave(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self._empty.set()

    async def emptied(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so long; whether none is."""
        self._empty.clear()
        if self.under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self.under_way

    def _check_room(self) -> None:
        many = self.under_way + self.waiting
        if many >= self.settings.max_requests:
            raise TooManyRequests(f"{many} requests are under way, the limit of this server.")

    def ready(self) -> Served:
        """What serves. Raises NotReady, with how long to wait."""
        status = self.status()
        if self.served is not None and status.stage is Stage.READY:
            return self.served
        raise NotReady(
            f"The model is not ready ({status.stage.value}); /health/ready says more.",
            retry_after=status.retry_after,
        )

    def names(self, served: Served) -> tuple[str, ...]:
        return (served.name, *self.settings.model_aliases)

    def check_model(self, served: Served, model: str | None) -> None:
        """Raises UnknownModel for a name that is neither the model's nor an alias."""
        if model is not None and model not in self.names(served):
            raise UnknownModel(
                f"The model {model!r} is not served here; {served.name!r} is.", param="model"
            )


async def _context(request: Request) -> Context:  # async, or FastAPI would take a thread for it
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
