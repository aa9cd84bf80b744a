"""The wiring: settings to an app whose lifespan brings the engine up and takes it down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.api import envelope, health, models, openapi, transcriptions
from app.api.context import Context, Served
from app.asr import zygote
from app.asr.plan import pick_device
from app.bring_up import BringUp, unexpected
from app.errors import EngineFailed, StartupError, Unavailable
from app.metrics import Metrics, TimingMiddleware
from app.settings import Settings
from app.startup import Stage, Startup

log = logging.getLogger(__name__)


def build_app(context: Context) -> FastAPI:
    """Routes, middleware and errors around a context; no engine."""
    app = FastAPI(
        title="Marlinscribe",
        version=__version__,
        description="Speech to text on your own hardware, behind OpenAI's API.",
    )
    app.state.context = context
    envelope.install(app)
    for router in (health.router, models.router, transcriptions.router):
        app.include_router(router)
    app.add_middleware(TimingMiddleware, metrics=context.metrics)
    if context.settings.cors_origins:
        # Outside of what asks for keys: a preflight carries none, and a 401 must be readable.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=context.settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(envelope.RequestIdMiddleware)
    openapi.install(app, keys=bool(context.settings.api_keys))
    return app


def create_app(
    settings: Settings | None = None,
    startup: Startup | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service. `on_failure` is called once a failed start has been shown long enough."""
    context = Context(settings or Settings(), startup or Startup(), Metrics())
    app = build_app(context)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        device = pick_device(context.settings.device)
        zygote.start(device, zygote.environment(device, context.settings.log_level))
        bring_up = BringUp(context.settings, device, context.startup, context.metrics)
        task = asyncio.create_task(_serve(context, bring_up, on_failure))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(bring_up.stop)

    app.router.lifespan_context = lifespan
    return app


async def _serve(context: Context, bring_up: BringUp, on_failure: Callable[[], None]) -> None:
    """Bring the engine up, and watch it until it dies or the task is cancelled."""
    try:
        service = await bring_up.run()
        context.alive = lambda: service.engine.alive
        context.served = Served(
            service.checkpoint.source.name, service.since, service.transcriber, service.describe()
        )
        context.metrics.model.labels(
            service.checkpoint.source.name, service.checkpoint.scheme, "+".join(service.kernels)
        ).set(1)
        context.startup.enter(Stage.READY)
        while service.engine.alive:  # noqa: ASYNC110  vLLM has no event for its engine's death
            await asyncio.sleep(1)
        raise EngineFailed("The engine's process died.", "Start the service again.")
    except StartupError as error:
        failure = error
    except Unavailable as error:  # it died while it was warmed up
        failure = EngineFailed(error.message, "Its log, above, may say why: often memory.")
    except Exception as error:
        log.exception("the start failed")
        failure = unexpected(error)
    context.startup.enter(Stage.FAILED, error=failure)
    log.error("%s", failure)
    await asyncio.sleep(context.settings.failure_linger_seconds)
    on_failure()
