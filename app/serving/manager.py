"""The engine behind one slot, and how it is exchanged for another.

A card has room for one engine of a model, so an exchange is: let nobody in, let those who are in
finish (within a bound), end the old engine, start the new one, put it to the test, let people in
again. Where the new one fails, the old checkpoint is started again.

Whatever starts or ends an engine holds the lock, and asks for the stage once it has it: another may
have been quicker. See supervisor.py for who starts it again after its death.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.errors import EngineFailed, NotReady
from app.process import run_shielded
from app.serving.lifecycle import Stage
from app.serving.loading import Loader
from app.serving.restarts import Restarts
from app.serving.state import ModelSlot, ServedModel

log = logging.getLogger(__name__)

Check = Callable[[ServedModel], Awaitable[None]]


class EngineManager:
    """Starts, exchanges and ends the engine of one slot. For the event loop's thread. One exchange
    at a time; `busy` while there is one.

    memory_bytes: the slot's share of the device, None where it has all of it.
    wanted: set when a request waits for an engine that was unloaded.
    fatal_error: why nothing serves and nothing will.
    """

    def __init__(
        self, slot: ModelSlot, loader: Loader, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.slot = slot
        self.restarts = Restarts(loader.settings.engine_restarts, clock)
        self.memory_bytes: int | None = None
        self.wanted = asyncio.Event()
        self.fatal_error: EngineFailed | None = None
        self._settings = loader.settings
        self._lifecycle = slot.lifecycle
        self._loader = loader
        self._clock = clock
        self._lock = asyncio.Lock()
        self._model: ServedModel | None = None
        self._reason = "died"
        slot.alive = lambda: self.alive
        slot.wake = self.wanted.set

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    @property
    def stage(self) -> Stage:
        return self._lifecycle.status.stage

    @property
    def alive(self) -> bool:
        return self._model is not None and self._model.loaded.engine.alive

    @property
    def unused(self) -> bool:
        """Whether it serves, and nobody has wanted it for as long as the settings say."""
        bound = self._settings.idle_unload_seconds
        if bound is None or self.stage is not Stage.READY or self._model is None:
            return False
        engine, admission = self._model.loaded.engine, self.slot.admission
        in_use = admission.under_way or admission.waiters or engine.windows
        return not in_use and self._clock() - engine.used >= bound

    def used_since(self, moment: float) -> bool:
        """Whether the engine has, or had since a moment of the clock, a window to decode."""
        if self._model is None or not self.alive:
            return False
        engine = self._model.loaded.engine
        return engine.windows > 0 or engine.used >= moment

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What is served, or was before the engine made room."""
        return self._model.checkpoint if self._model else None

    async def open(self, checkpoint: Checkpoint) -> None:
        """The first engine. Raises EngineFailed, EngineDied."""
        async with self._lock:
            enter = self._lifecycle.enter
            enter(Stage.LOADING, checkpoint.folder.name)
            self._publish(await self._load(checkpoint, lambda: enter(Stage.WARMING)))

    async def exchange(
        self, checkpoint: Checkpoint, check: Check, *, released_device: bool = False
    ) -> None:
        """Serve another checkpoint, if it stands the check; else what served before. While the
        device is left to other work, only for whoever `released_device`; others get NotReady.

        Raises what the new one failed with, whatever it is, after the old one serves again;
        EngineFailed where that does not start: it is then started again as after its death.
        """
        async with self._lock:
            before = self._model
            assert before is not None, "nothing serves that could be exchanged"
            if self.stage is Stage.MAINTENANCE and not released_device:
                raise NotReady("The device is a job's until that is over.", retry_after=60)
            await self._empty()
            try:
                self._tell(f"loading {checkpoint.folder.name}")
                model = await self._load(checkpoint, lambda: self._tell("trying it out"))
                try:
                    await check(model)
                except BaseException:
                    await _ended(model)
                    raise
            except Exception as error:
                log.error("%s is not served: %s", checkpoint.folder.name, error)
                self._tell(f"going back to {before.checkpoint.folder.name}")
                self._publish(await self._reload(before))
                raise
            self._publish(model)

    async def release_device(self, why: str) -> None:
        """End the engine, to leave the device to other work; `resume_serving` starts it again."""
        async with self._lock:
            await self._empty()
            self._lifecycle.enter(Stage.MAINTENANCE, why)

    async def resume_serving(self) -> None:
        """Serve again after `release_device`, however far that came: what served before. Raises
        EngineFailed; it is then started again as after its death."""
        async with self._lock:
            assert self._model is not None
            if self.stage in (Stage.EXCHANGING, Stage.MAINTENANCE):
                self._tell("serving again")
                self._publish(self._model if self.alive else await self._reload(self._model))

    def on_engine_death(self) -> None:
        """The engine that served is dead: it is started again after a pause, or given up."""
        assert self._model is not None
        self._reason = "stalled" if self._model.loaded.engine.stalled else "died"
        why = "The engine was stuck." if self._reason == "stalled" else "The engine's process died."
        self._gone(EngineFailed(why, "Its log, above, may say why: often memory."))

    async def start_again(self) -> None:
        """Serve again what died or was put away. Where it does not start, that is a loss like a
        death."""
        async with self._lock:
            if self.stage not in (Stage.RESTARTING, Stage.IDLE):
                return
            assert self._model is not None
            if self.stage is Stage.RESTARTING:
                self.slot.metrics.restarted(self._reason)
            eta = self._lifecycle.eta()
            self._lifecycle.enter(self.stage, "starting the engine again", eta_seconds=eta)
            await _ended(self._model)
            with suppress(EngineFailed):
                self._publish(await self._reload(self._model))

    async def unload_idle(self) -> None:
        """End the engine, unless somebody wants it after all; `wanted` starts it again."""
        async with self._lock:
            if self.unused:
                assert self._model is not None
                self._lifecycle.enter(Stage.IDLE, eta_seconds=self._lifecycle.eta())
                log.info("nobody wants the engine: it gives its memory back")
                await _ended(self._model)

    def stop(self) -> None:
        """End the engine. Blocking, for seconds at most."""
        if self._model is not None:
            self._model.loaded.engine.stop()

    async def _empty(self) -> None:
        """Let the requests under way finish, and end the engine with those that do not."""
        assert self._model is not None
        self._tell("waiting for requests to finish")
        if not await self.slot.admission.drained(self._settings.drain_seconds):
            log.warning("%d requests did not finish in time", self.slot.admission.under_way)
        self.slot.model = None
        await _ended(self._model)

    async def _load(self, checkpoint: Checkpoint, on_loaded: Callable[[], None]) -> ServedModel:
        model = await self._loader.load(
            checkpoint,
            self.slot.metrics,
            name=self.slot.name,
            memory_bytes=self.memory_bytes,
            on_loaded=on_loaded,
        )
        self._lifecycle.engine_seconds = model.loaded.engine.start_seconds
        return model

    async def _reload(self, model: ServedModel) -> ServedModel:
        """Raises EngineFailed, when that has been seen to."""
        try:
            return await self._load(model.checkpoint, lambda: None)
        except Exception as error:
            failure = EngineFailed(
                f"What served before could not be started again: {error}",
                "Start the service again.",
            )
            self._gone(failure)
            raise failure from error

    def _gone(self, failure: EngineFailed) -> None:
        """No engine serves any more: what becomes of that."""
        self.slot.model = None
        pause, restarts = self.restarts.lost(), self.restarts
        if pause is None:
            self.fatal_error = failure
            return
        which = f"start {restarts.in_a_row} of {restarts.most}"
        log.error("%s (%s in %g s)", failure.message, which, pause)
        detail = f"{failure.message} ({which})"
        self._lifecycle.enter(Stage.RESTARTING, detail, eta_seconds=self._lifecycle.eta(pause))

    def _publish(self, model: ServedModel) -> None:
        self._model = model
        self._reason = "died"
        self.restarts.serves()
        scheme, source = model.checkpoint.scheme, model.checkpoint.source.name
        self.slot.model = model
        self.slot.admission.resize(model.loaded.slots)
        self.slot.metrics.serves(source, scheme, "+".join(model.kernels))
        self._lifecycle.enter(Stage.READY)
        log.info(
            "serving %s (%s, %.1f MB) through %s",
            model.name,
            scheme,
            model.facts["weight_bytes"] / 1e6,
            ", ".join(f"{kernel} x{count}" for kernel, count in model.kernels.items()),
        )

    def _tell(self, detail: str, **progress: Any) -> None:
        self._lifecycle.enter(Stage.EXCHANGING, detail, **progress)


async def _ended(model: ServedModel) -> None:
    """Its processes are gone, or have been told to go: what remains is not worth stopping for."""
    try:
        await run_shielded(model.loaded.engine.stop)
    except Exception:
        log.exception("the engine did not end cleanly")
