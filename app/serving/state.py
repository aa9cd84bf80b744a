"""The models that a service serves: a slot each, which a request is bound to once."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from app.admission.control import Admission
from app.admission.requests import RequestLimit
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.weights import weight_bytes
from app.errors import NotReady, ShuttingDown
from app.metrics import Metrics, ModelMetrics
from app.models.base import LoadedModel
from app.serving.lifecycle import Lifecycle, Stage, Status
from app.serving.names import ServedNames
from app.settings import Settings

_SHORT = (Stage.EXCHANGING, Stage.IDLE)  # worth waiting for


@dataclass(frozen=True)
class ServedModel:
    """A checkpoint in a running engine. since: Unix seconds. watch: the task that kills the engine
    where it is stuck; the event loop itself holds on to no task."""

    name: str
    checkpoint: Checkpoint
    loaded: LoadedModel
    kernels: dict[str, int]
    since: int
    watch: asyncio.Task[bool] | None = None

    @property
    def alive(self) -> bool:
        return self.loaded.engine.alive

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What /v1/models tells beside OpenAI's fields."""
        checkpoint = self.checkpoint
        return {
            "source": checkpoint.source.name,
            "revision": checkpoint.source.revision or None,
            "scheme": checkpoint.scheme,
            "kernels": self.kernels,
            "weight_bytes": weight_bytes(checkpoint.folder),
            "fingerprint": checkpoint.fingerprint,
            "languages": sorted(self.loaded.capabilities.languages),
            **self.loaded.facts,
            **checkpoint.provenance,
        }


@dataclass
class ModelSlot:
    """One name that the service answers to, and what serves under it. For the event loop's thread.

    aliases: those that lists show. model: None until the first start is over, and while a
    checkpoint is exchanged. alive: asks its engine. wake: asks for an engine that was unloaded.
    """

    name: str
    aliases: tuple[str, ...]
    admission: Admission
    metrics: ModelMetrics
    exchange_wait_seconds: float
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    model: ServedModel | None = None
    alive: Callable[[], bool] = lambda: True
    wake: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.lifecycle.listen(
            lambda status: self.metrics.enter(status.stage, Stage, answers=status.answers)
        )

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def status(self) -> Status:
        """Where the model stands; an engine's death shows here before its supervisor notices it."""
        status = self.lifecycle.status
        if status.stage is Stage.READY and not (self.model and self.alive()):
            eta = self.lifecycle.eta()
            return Status(Stage.RESTARTING, "The engine's process died.", eta_seconds=eta)
        return status

    @asynccontextmanager
    async def place(self, client: str, *, is_retry: bool = False) -> AsyncGenerator[ServedModel]:
        """Hold a transcription's place; what serves it. It waits, in a bounded queue and for a
        bounded time, while one checkpoint is exchanged for another and while an engine that was
        unloaded starts. Raises NotReady, ShuttingDown, TooManyRequests."""
        if self.status().stage in _SHORT:
            with self.admission.waiting(client):
                await self.wait_short()
        model = self.ready()
        # No await between: an exchange waits for this request.
        with self.admission.place(client, is_retry=is_retry):
            yield model

    async def wait_short(self) -> None:
        """Wait, for a bounded time, where the model will serve again shortly."""
        if self.status().stage is Stage.IDLE:
            self.wake()
        await self.lifecycle.left(_SHORT, self.exchange_wait_seconds)

    def ready(self) -> ServedModel:
        """What serves. Raises NotReady, with how long to wait, and ShuttingDown."""
        status = self.status()
        if status.stage is Stage.STOPPING:
            raise ShuttingDown("The service is shutting down.", retry_after=status.retry_after)
        if self.model is not None and status.stage is Stage.READY:
            return self.model
        raise NotReady(
            f"The model is not ready ({status.stage.value}); /health/ready says more.",
            retry_after=status.retry_after,
        )

    def still_serves(self) -> ServedModel:
        """What serves, for a request that has its place: an exchange, or the end, that began since
        waits for it. Raises as `ready`."""
        return self.model if self.model is not None and self.alive() else self.ready()

    def successor(self, model: ServedModel) -> ServedModel:
        """What serves a request that was bound to `model`: the same, or the same checkpoint in an
        engine that was started again. Raises NotReady, ShuttingDown."""
        if model.alive:
            return model
        current = self.still_serves()
        if current.checkpoint == model.checkpoint:
            return current
        raise NotReady(f"Another checkpoint serves {self.name!r} now.", retry_after=1)

    @property
    def is_known(self) -> bool:
        return self.model is not None and self.status().answers

    def known(self) -> ServedModel:
        """What serves, or will again for the next request. Raises as `ready`."""
        if self.model is not None and self.status().stage is Stage.IDLE:
            return self.model
        return self.ready()


class ServiceState:
    """All slots of a service, and what they share.

    limit: of requests. The first slot is the default, for requests that name no model.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.limit = RequestLimit(
            settings.max_requests,
            metrics,
            most_upload_bytes=settings.stored_upload_bytes,
            most_held_seconds=settings.max_decoded_seconds,
        )
        self._names = ServedNames(settings)
        self.slots: Mapping[str, ModelSlot] = {
            name: self._slot(name) for name in settings.served_models
        }

    def _slot(self, name: str) -> ModelSlot:
        metrics = self.metrics.of(name)
        admission = Admission(self.limit, self.settings.max_queue_seconds, metrics)
        wait = self.settings.exchange_wait_seconds
        return ModelSlot(name, self._names.listed(name), admission, metrics, wait)

    @property
    def default(self) -> ModelSlot:
        return next(iter(self.slots.values()))

    def slot(self, model: str | None) -> ModelSlot:
        """The slot that a client's name for a model means. Raises UnknownModel."""
        return self.default if model is None else self.slots[self._names.find(model)]

    def status(self) -> Status:
        """Where the service stands: as the first of its models that does not answer, or as the
        default where all do."""
        statuses = [slot.status() for slot in self.slots.values()]
        return next((status for status in statuses if not status.answers), statuses[0])

    @asynccontextmanager
    async def place(self, client: str, *, is_retry: bool = False) -> AsyncGenerator["Place"]:
        """Hold a request's place from before its body is read, which says what model it is for,
        until it is answered. Raises NotReady, ShuttingDown, TooManyRequests."""
        if len(self.slots) == 1:
            async with self.default.place(client, is_retry=is_retry):
                yield Place(self, client, self.default)
            return
        _check_any(self.slots.values())
        with self.limit.place(client, is_retry=is_retry), ExitStack() as stack:
            yield Place(self, client, None, stack)


@dataclass
class Place:
    """A request's place in the service, which is bound to one model once its body is read."""

    _state: ServiceState
    _client: str
    _slot: ModelSlot | None
    _stack: ExitStack = field(default_factory=ExitStack)

    async def bind(self, model: str | None) -> tuple[ModelSlot, ServedModel]:
        """The slot of a model's name, and what serves under it from here on. Raises UnknownModel,
        NotReady, ShuttingDown."""
        slot = self._state.slot(model)
        if self._slot is None:
            if slot.status().stage in _SHORT:
                await slot.wait_short()
            slot.ready()
            self._stack.enter_context(slot.admission.bound(self._client))
            self._slot = slot
        return slot, slot.still_serves()


def _check_any(slots: Iterable[ModelSlot]) -> None:
    """Raises as `ready` of the first slot where no model serves or will shortly."""
    if not any(slot.status().answers or slot.status().stage in _SHORT for slot in slots):
        next(iter(slots)).ready()
