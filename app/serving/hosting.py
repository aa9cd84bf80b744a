"""The one engine that serves, and how it is exchanged for another.

A card has room for one engine, so an exchange is: let nobody in, let those who are in finish
(within a bound), end the old engine, start the new one, put it to the test, let people in again.
Where the new one fails, the old checkpoint is started again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from app.api.context import Context, Served
from app.errors import EngineFailed, NotReady
from app.process import in_daemon_thread
from app.quantization.making import Checkpoint
from app.serving.loading import Loader, Service
from app.startup import Stage

log = logging.getLogger(__name__)

Check = Callable[[Service], Awaitable[None]]


class Host:
    """For the event loop's thread. One exchange at a time; `busy` while there is one."""

    def __init__(self, context: Context, loader: Loader) -> None:
        self._context = context
        self._loader = loader
        self._lock = asyncio.Lock()
        self._service: Service | None = None
        self._lost: EngineFailed | None = None
        context.alive = self._alive

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What is served, or was before the engine made room."""
        return self._service.checkpoint if self._service else None

    async def open(self, checkpoint: Checkpoint) -> None:
        """The first engine. Raises EngineFailed, EngineDied."""
        async with self._lock:
            enter = self._context.startup.enter
            enter(Stage.LOADING, checkpoint.folder.name)
            self._publish(await self._load(checkpoint, lambda: enter(Stage.WARMING)))

    async def exchange(
        self, checkpoint: Checkpoint, check: Check, *, made_room: bool = False
    ) -> None:
        """Serve another checkpoint, if it stands the check; else what served before. While the
        device is left to other work, only for whoever `made_room`; others get NotReady.

        Raises what the new one failed with, whatever it is, after the old one serves again;
        EngineFailed where that cannot be started any more.
        """
        async with self._lock:
            before = self._service
            assert before is not None, "nothing serves that could be exchanged"
            if self._context.startup.status.stage is Stage.MAINTENANCE and not made_room:
                raise NotReady("The device is a job's until that is over.", retry_after=60)
            await self._empty()
            try:
                self._tell(f"loading {checkpoint.folder.name}")
                service = await self._load(checkpoint, lambda: self._tell("trying it out"))
                try:
                    await check(service)
                except BaseException:
                    await _ended(service)
                    raise
            except Exception as error:
                log.error("%s is not served: %s", checkpoint.folder.name, error)
                self._tell(f"going back to {before.checkpoint.folder.name}")
                self._publish(await self._reload(before))
                raise
            self._publish(service)

    async def make_room(self, why: str) -> None:
        """End the engine, to leave the device to other work; `reopen` starts it again."""
        async with self._lock:
            await self._empty()
            self._context.startup.enter(Stage.MAINTENANCE, why)

    async def reopen(self) -> None:
        """Serve again, if nothing does: what served before `make_room`, however far that came.
        Raises EngineFailed."""
        async with self._lock:
            assert self._service is not None
            if self._context.startup.status.stage is not Stage.READY:
                self._tell("serving again")
                alive = self._alive()
                self._publish(self._service if alive else await self._reload(self._service))

    async def watch(self) -> None:
        """Raise EngineFailed when the engine dies while it should serve, and when neither a new
        checkpoint nor the old one serves."""
        while True:
            if self._lost:
                raise self._lost
            if self._context.startup.status.stage is Stage.READY and not self._alive():
                raise EngineFailed("The engine's process died.", "Start the service again.")
            await asyncio.sleep(1)  # vLLM has no event for its engine's death

    def stop(self) -> None:
        """End the engine. Blocking, for seconds at most."""
        if self._service is not None:
            self._service.engine.stop()

    def _alive(self) -> bool:
        return self._service is not None and self._service.engine.alive

    async def _empty(self) -> None:
        """Let the requests under way finish, and end the engine with those that do not."""
        assert self._service is not None
        self._tell("waiting for requests to finish")
        if not await self._context.emptied(self._context.settings.drain_seconds):
            log.warning("%d requests did not finish in time", self._context.under_way)
        self._context.served = None
        await _ended(self._service)

    async def _load(self, checkpoint: Checkpoint, on_loaded: Callable[[], None]) -> Service:
        return await self._loader.load(checkpoint, self._context.metrics, on_loaded=on_loaded)

    async def _reload(self, service: Service) -> Service:
        try:
            return await self._load(service.checkpoint, lambda: None)
        except Exception as error:
            self._lost = EngineFailed(
                f"What served before could not be started again: {error}",
                "Start the service again.",
            )
            raise self._lost from error

    def _publish(self, service: Service) -> None:
        self._service = service
        checkpoint, facts = service.checkpoint, service.describe()
        self._context.served = Served(
            checkpoint.source.name, service.since, service.transcriber, facts
        )
        metrics = self._context.metrics
        metrics.model.clear()
        kernels = "+".join(service.kernels)
        metrics.model.labels(checkpoint.source.name, checkpoint.scheme, kernels).set(1)
        self._context.startup.enter(Stage.READY)
        log.info(
            "serving %s (%s, %.1f MB) through %s",
            checkpoint.source.name,
            checkpoint.scheme,
            facts["weight_bytes"] / 1e6,
            ", ".join(f"{kernel} x{count}" for kernel, count in service.kernels.items()),
        )

    def _tell(self, detail: str, **progress: Any) -> None:
        self._context.startup.enter(Stage.EXCHANGING, detail, **progress)


async def _ended(service: Service) -> None:
    """Its processes are gone, or have been told to go: what remains is not worth stopping for."""
    try:
        await in_daemon_thread(service.engine.stop)
    except Exception:
        log.exception("the engine did not end cleanly")
