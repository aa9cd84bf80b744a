"""What routes know of the service: one object on the app, given to each by dependency."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from app.background import BackgroundJobs, Batches
from app.jobs import Job, Jobs
from app.metrics import Metrics
from app.quantization.proof import Proof
from app.quantization.request import QuantizationRequest
from app.recordings.spec import Recordings
from app.serving.state import ServiceState
from app.settings import Settings
from app.tracing import Tracing
from app.transcription.session import Transcriptions


class Quantizing(Protocol):
    """What `api` knows of quantization."""

    jobs: Jobs

    async def submit(self, request: QuantizationRequest) -> tuple[Job, bool]:
        """The job for a request, and whether it is new. Raises BadField, JobsFull."""
        ...

    async def report(self, job: Job) -> Proof:
        """A job's whole proof. Raises JobConflict where there is none yet."""
        ...

    async def promote(self, job_id: str, own: Recordings | None, model: str | None) -> Job:
        """Begin to serve a proven checkpoint as `model`, tried on `own` canaries where they are
        given. Raises UnknownJob, UnknownModel, JobConflict, BadField."""
        ...

    async def delete(self, job_id: str) -> None:
        """Forget a job that is over, with all that it left but the checkpoint. Raises UnknownJob,
        RecordNotKept, and JobConflict where it is not over or where it is what serves."""
        ...

    async def roll_back(self, model: str | None) -> dict[str, Any]:
        """Serve what was served as `model` before the last promotion: its fingerprint and scheme.
        Raises UnknownModel, JobConflict, StartupError."""
        ...


@dataclass
class Context:
    """The service, as routes see it. quantization, background, batches: None until the start has
    begun."""

    settings: Settings
    metrics: Metrics
    quantization: Quantizing | None = None
    background: BackgroundJobs | None = None
    batches: Batches | None = None
    state: ServiceState = field(init=False)
    transcriptions: Transcriptions = field(init=False)
    tracing: Tracing = field(init=False)

    def __post_init__(self) -> None:
        self.tracing = Tracing(self.settings.otlp_traces_endpoint)
        self.state = ServiceState(self.settings, self.metrics)
        self.transcriptions = Transcriptions(self.settings, self.metrics, self.state.limit)


async def _context(request: Request) -> Context:  # async, or FastAPI would take a thread for it
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
