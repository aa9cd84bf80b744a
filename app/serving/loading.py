"""A checkpoint's way into an engine, ready to transcribe."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.device import device_facts
from app.checkpoints.tuned import standing
from app.metrics import ModelMetrics
from app.models import family_of
from app.models.base import Device, Engine, LoadedModel, LoadOptions
from app.process import in_daemon_thread, run_shielded
from app.serving.stalls import end_if_stuck
from app.serving.state import ServedModel
from app.settings import Settings

# So many times as long may an engine be silent that runs only while others leave it the processors.
_SLOWER = 10


@dataclass(frozen=True)
class Loader:
    """Starts engines, each as the settings and the device have it."""

    settings: Settings
    device: Device

    async def load(
        self,
        checkpoint: Checkpoint,
        metrics: ModelMetrics | None,
        *,
        name: str | None = None,
        windows: int | None = None,
        memory_bytes: int | None = None,
        patient: bool = False,
        idle_priority: bool = False,
        is_whole: bool = False,
        on_loaded: Callable[[], None] = lambda: None,
    ) -> ServedModel:
        """Start an engine and warm it up.

        Without `metrics` it is not observed. `name` is what it serves as, if not by the source's.
        `memory_bytes` is its share of the device, where others have theirs. `on_loaded` is called
        before the warm-up. A `patient` caller that is cancelled leaves no engine behind that is
        still starting. With `idle_priority` an engine, once loaded, runs only while nobody else
        wants the processors. Where `is_whole`, no window is heard shortened. From here on it is
        killed where it is stuck. Raises EngineFailed, EngineDied; nothing of it is left then.
        """
        options = LoadOptions(
            windows=windows or self.settings.max_windows,
            kv_bytes=self.settings.kv_cache_bytes,
            memory_bytes=memory_bytes,
            linear_backend=self.settings.linear_backend,
            traces_endpoint=self.settings.otlp_traces_endpoint,
            metrics=metrics,
            short_encoder="off" if is_whole else self.settings.short_encoder,
            known_as=checkpoint.known_as,
        )
        served_as = name or checkpoint.source.name
        family = family_of(checkpoint.source.config)
        family.prepare(self.device, self.settings.log_level)

        def start() -> LoadedModel:
            return family.start(served_as, checkpoint.folder, self.device, options)

        loaded = await _started(start, patient=patient)
        engine, begun = loaded.engine, time.monotonic()
        stall = self.settings.engine_stall_seconds * (_SLOWER if idle_priority else 1)
        watch = asyncio.create_task(end_if_stuck(engine, stall))
        try:
            on_loaded()
            await loaded.decoder.warm_up()
            engine.start_seconds += time.monotonic() - begun
            kernels = await engine.linear_kernels()
            if idle_priority:
                engine.set_idle_priority()
        except BaseException:
            await run_shielded(engine.stop)
            raise
        told = replace(checkpoint, provenance=checkpoint.provenance | self._standing(checkpoint))
        model = ServedModel(served_as, told, loaded, kernels, int(time.time()), watch)
        await asyncio.to_thread(lambda: model.facts)  # reads files, once
        return model

    def _standing(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """What is told of a checkpoint whose bits by layer were chosen for a device."""
        recipe = checkpoint.recipe
        if recipe is None or recipe.tuned is None:
            return {}
        backend = self.settings.linear_backend
        return standing(recipe.tuned, device_facts(self.device, recipe.dtype, backend))


async def _started(start: Callable[[], LoadedModel], *, patient: bool) -> LoadedModel:
    """The engine. Starting cannot be broken off: one that nobody wants any more is ended as soon as
    it is there, and the `patient` wait for that."""
    starting = asyncio.ensure_future(in_daemon_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        if patient:
            await asyncio.wait({starting})
            if not starting.exception():
                await run_shielded(starting.result().engine.stop)
        else:
            starting.add_done_callback(_end)
        raise


def _end(started: "asyncio.Future[LoadedModel]") -> None:
    if not started.cancelled() and not started.exception():
        engine: Engine = started.result().engine
        threading.Thread(target=engine.stop, daemon=True).start()
