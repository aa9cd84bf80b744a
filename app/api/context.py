"""What routes know of the service: one object on the app, given to each by dependency."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from app.asr.transcript import Transcriber
from app.errors import NotReady, UnknownModel
from app.metrics import Metrics
from app.settings import Settings
from app.startup import Stage, Startup

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
    decodes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_DECODES_AT_ONCE))

    def ready(self) -> Served:
        """What serves. Raises NotReady, with how long to wait."""
        status = self.startup.status
        if self.served is not None and status.stage is Stage.READY and self.alive():
            return self.served
        stage = Stage.FAILED if status.stage is Stage.READY else status.stage
        raise NotReady(
            f"The model is not ready ({stage.value}); /health/ready says more.",
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


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
