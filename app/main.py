"""The wiring: settings to an app whose lifespan brings the engine up and takes it down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.api import (
    background,
    batches,
    envelope,
    files,
    head,
    health,
    models,
    openapi,
    page,
    paths,
    quantize,
    transcriptions,
)
from app.api.batch_reader import BatchReader
from app.api.compat import asr_webservice, whisper_cpp
from app.api.context import Context
from app.api.spool import check_spool_folder
from app.api.stopping import StoppingMiddleware, Unfinished
from app.api.telemetry import TelemetryMiddleware
from app.background import BackgroundJobs, Batches
from app.checkpoints.checkpoint import Checkpoint
from app.errors import EngineFailed, StartupError, Unavailable
from app.metrics import Metrics
from app.models.base import Device
from app.models.whisper_vllm.family import WhisperFamily
from app.models.whisper_vllm.plan import check_device, pick_device
from app.process import in_daemon_thread
from app.quantization.job_metrics import meter
from app.quantization.service import Quantization
from app.serving.lifecycle import Lifecycle, Stage
from app.serving.loading import Loader
from app.serving.manager import EngineManager
from app.serving.shares import memory_shares
from app.serving.supervisor import supervise
from app.settings import Settings

log = logging.getLogger(__name__)

_SHORT_REQUEST = 1.0  # seconds: what is no transcription takes no longer


def build_app(context: Context) -> FastAPI:
    """Routes, middleware and errors around a context; no engine."""
    app = FastAPI(
        title="Marlinscribe",
        version=__version__,
        description="Speech to text on your own hardware, behind OpenAI's API.",
        redirect_slashes=False,  # see PathsMiddleware
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; see app/api/page
        redoc_url=None,
    )
    app.state.context = context
    envelope.install(app)
    ours = (health, models, transcriptions, background, files, batches, quantize, page)
    compat = (asr_webservice.router, whisper_cpp.router)
    for router in (*(one.router for one in ours), *compat):
        app.include_router(router)
    head.allow(app)
    transcriptions.preregister_series(context.metrics, *compat)
    app.state.unfinished = Unfinished()
    app.add_middleware(StoppingMiddleware, unfinished=app.state.unfinished)
    app.add_middleware(TelemetryMiddleware, metrics=context.metrics, tracing=context.tracing)
    app.add_middleware(envelope.InternalErrorMiddleware)
    if context.settings.cors_origins:
        # Outside of what asks for keys: a preflight carries none, and a 401 must be readable.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=context.settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after", openapi.SERVED_MODEL],
        )
    app.add_middleware(paths.PathsMiddleware)
    app.add_middleware(envelope.RequestIdMiddleware)
    openapi.install(app, keys=bool(context.settings.api_keys))
    return app


def create_app(
    settings: Settings | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service. `on_failure` is called once a failed start has been shown long enough."""
    context = Context(settings or Settings(), Metrics())
    app = build_app(context)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        device = await in_daemon_thread(pick_device, context.settings.device)
        WhisperFamily().prepare(device, context.settings.log_level)
        loader = Loader(context.settings, device)
        managers = [EngineManager(slot, loader) for slot in context.state.slots.values()]
        decoders = context.transcriptions.decoders
        quantization = await in_daemon_thread(Quantization, loader, managers, decoders)
        meter(quantization.jobs, context.metrics)
        context.quantization = quantization
        task = asyncio.create_task(_serve(context, device, managers, quantization, on_failure))
        decoders.start()
        context.background = await in_daemon_thread(
            BackgroundJobs, context.settings, context.state, context.transcriptions, context.metrics
        )
        context.batches = await in_daemon_thread(
            Batches, context.settings, context.background, BatchReader(context), context.metrics
        )
        async with context.background.working(), context.batches.working():
            yield
        quantization.stop()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await quantization.close()
        for manager in managers:
            await asyncio.to_thread(manager.stop)
        await asyncio.to_thread(decoders.close)
        await asyncio.to_thread(context.tracing.close)

    app.router.lifespan_context = lifespan
    return app


async def drain(app: FastAPI) -> None:
    """Let nobody in any more. What is under way has a while to finish; what does not is answered
    that the service is shutting down."""
    context: Context = app.state.context
    unfinished: Unfinished = app.state.unfinished
    slots = context.state.slots.values()
    if all(slot.lifecycle.status.stage is not Stage.FAILED for slot in slots):
        for slot in slots:
            slot.lifecycle.enter(Stage.STOPPING)
        if await context.state.limit.drained(context.settings.drain_seconds):
            await unfinished.wait_non_streaming(_SHORT_REQUEST)
    await unfinished.refuse()


async def _serve(
    context: Context,
    device: Device,
    managers: Sequence[EngineManager],
    quantization: Quantization,
    on_failure: Callable[[], None],
) -> None:
    """Bring the engines up, do the jobs, and supervise them until one serves no more and will not
    again, or the task is cancelled."""
    try:
        await in_daemon_thread(check_spool_folder)
        await in_daemon_thread(check_device, device)
        await _open(managers, quantization, device)
        await _first_of(quantization.jobs.run(), *(supervise(one) for one in managers))
    except StartupError as error:
        failure = error
    except Unavailable as error:  # it died while it was warmed up
        failure = EngineFailed(error.message, "Its log, above, may say why: often memory.")
    except Exception as error:
        log.exception("the start failed")
        failure = StartupError(
            f"{type(error).__name__}: {error}",
            "This is a defect: the log above has its traceback.",
        )
    for manager in managers:
        manager.slot.lifecycle.enter(Stage.FAILED, error=failure)
    log.error("%s (%s)", failure, failure.code)
    await asyncio.sleep(context.settings.failure_linger_seconds)
    on_failure()


async def _open(
    managers: Sequence[EngineManager], quantization: Quantization, device: Device
) -> None:
    """Make or find every checkpoint, then start the engines, one after the other. Several share the
    device's memory, so none starts before all that they need is known. Raises StartupError."""
    checkpoints: dict[str, Checkpoint] = {}
    for manager in managers:
        slot = manager.slot
        enter = _entering(slot.lifecycle)
        checkpoints[slot.name] = await in_daemon_thread(quantization.checkpoint, slot.name, enter)
    if len(managers) > 1:
        shares = await in_daemon_thread(memory_shares, checkpoints, device)
        for manager in managers:
            manager.memory_bytes = shares[manager.slot.name]
    for manager in managers:
        await manager.open(checkpoints[manager.slot.name])


def _entering(lifecycle: Lifecycle) -> Callable[..., None]:
    """lifecycle.enter, for another thread to call."""
    loop = asyncio.get_running_loop()

    def enter(stage: Stage, detail: str = "", **progress: Any) -> None:
        loop.call_soon_threadsafe(partial(lifecycle.enter, stage, detail, **progress))

    return enter


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run several together until the first of them ends, as it ends."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
