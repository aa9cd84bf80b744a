"""What routes know of the service: one object on the app, given to each by dependency."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from app.asr.transcript import Transcriber
from app.errors import EngineFailed, NotReady, UnknownModel
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


@dataclass
class Context:
    """`served` is None until the start is over; `alive` asks the engine."""

    settings: Settings
    startup: Startup
    metrics: Metrics
    served: Served | None = None
    alive: Callable[[], bool] = lambda: True
    under_way: int = 0  # transcriptions being received or answered
    decoders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_DECODES_AT_ONCE, "decode")
    )

    def status(self) -> Status:
        """Where the service stands; an engine's death shows here before the watch notices it."""
        status = self.startup.status
        if status.stage is Stage.READY and not (self.served and self.alive()):
            return Status(Stage.FAILED, error=EngineFailed("The engine's process died.", ""))
        return status

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
