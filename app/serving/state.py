"""What routes know of the service: one object on the app, given to each by dependency."""

from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from app.admission.control import DECODES_AT_ONCE, Admission
from app.errors import NotReady, ShuttingDown, UnknownModel
from app.jobs import Job, Jobs
from app.metrics import Metrics
from app.quantization.proof import Proof
from app.quantization.request import QuantizationRequest
from app.recordings.spec import Recordings
from app.serving.lifecycle import Lifecycle, Stage, Status
from app.settings import Settings
from app.tracing import Tracing
from app.transcription.coalescing import InFlight
from app.transcription.results import Transcriber

_SHORT = (Stage.EXCHANGING, Stage.IDLE)  # worth waiting for


@dataclass
class ServedModel:
    """The model that answers. `facts` are ours, beside OpenAI's fields in /v1/models."""

    name: str
    since: int
    transcriber: Transcriber
    facts: dict[str, Any] = field(default_factory=dict)


class Quantizing(Protocol):
    """What `api` knows of quantization."""

    jobs: Jobs

    async def submit(self, order: QuantizationRequest) -> tuple[Job, bool]:
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
    startup: Lifecycle
    metrics: Metrics
    served: ServedModel | None = None
    quantization: Quantizing | None = None
    alive: Callable[[], bool] = lambda: True
    wake: Callable[[], None] = lambda: None  # the engine that was put away
    tracing: Tracing = field(init=False)
    works: InFlight = field(default_factory=InFlight)
    decoders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(DECODES_AT_ONCE, "decode")
    )
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.tracing = Tracing(settings.otlp_traces_endpoint)
        self.admission = Admission(
            settings.max_requests,
            settings.max_queue_seconds,
            self.metrics,
            most_held=settings.max_decoded_seconds,
            most_upload_bytes=settings.stored_upload_bytes,
        )

    def status(self) -> Status:
        """Where the service stands; an engine's death shows here before the watch notices it."""
        status = self.startup.status
        if status.stage is Stage.READY and not (self.served and self.alive()):
            eta = self.startup.eta()
            return Status(Stage.RESTARTING, "The engine's process died.", eta_seconds=eta)
        return status

    @asynccontextmanager
    async def place(self, client: str, *, back: bool = False) -> AsyncGenerator[ServedModel]:
        """A transcription's place, and what serves it. It waits, in a bounded queue and for a
        bounded time, while one checkpoint is exchanged for another and while an engine that was
        put away starts. `back`: see Admission. Raises NotReady, ShuttingDown, TooManyRequests."""
        if self.status().stage in _SHORT:
            with self.admission.waiting(client):
                if self.status().stage is Stage.IDLE:
                    self.wake()
                await self.startup.left(_SHORT, self.settings.exchange_wait_seconds)
        served = self.ready()
        # No await between: an exchange waits for this request.
        with self.admission.place(client, back=back):
            yield served

    def ready(self) -> ServedModel:
        """What serves. Raises NotReady, with how long to wait, and ShuttingDown."""
        status = self.status()
        if status.stage is Stage.STOPPING:
            raise ShuttingDown("The service is shutting down.", retry_after=status.retry_after)
        if self.served is not None and status.stage is Stage.READY:
            return self.served
        raise NotReady(
            f"The model is not ready ({status.stage.value}); /health/ready says more.",
            retry_after=status.retry_after,
        )

    def still_serves(self) -> ServedModel:
        """What serves, for a request that has its place: an exchange, or the end, that began since
        waits for it. Raises as `ready`."""
        return self.served if self.served is not None and self.alive() else self.ready()

    def known(self) -> ServedModel:
        """What serves, or will again for the next request. Raises as `ready`."""
        if self.served is not None and self.status().stage is Stage.IDLE:
            return self.served
        return self.ready()

    def names(self, served: ServedModel) -> tuple[str, ...]:
        return (served.name, *self.settings.model_aliases)

    def check_model(self, served: ServedModel, model: str | None) -> None:
        """Raises UnknownModel for a name that is neither the model's nor an alias."""
        if model is not None and model not in self.names(served):
            raise UnknownModel(
                f"The model {model!r} is not served here; {served.name!r} is.", param="model"
            )


async def _context(request: Request) -> Context:  # async, or FastAPI would take a thread for it
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
