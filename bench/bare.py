"""`marlinscribe serve` without metrics and telemetry of ours and without admission: what
bench.overhead compares the service with. vLLM keeps its own statistics in both."""

import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app import main
from app.admission.control import Admission
from app.admission.fair_queue import FairQueue
from app.admission.requests import RequestLimit
from app.cli import main as cli
from app.metrics import Metrics


class _Nothing:
    """Takes any call."""

    engine: Any

    def __getattr__(self, _: str) -> "_Nothing":
        return self

    def __call__(self, *_: Any, **__: Any) -> "_Nothing":
        return self


class _NoMetrics(Metrics):
    def __init__(self) -> None:
        super().__init__()
        for name in vars(self).keys() - {"registry", "engines"}:
            setattr(self, name, _Nothing())

    def of(self, model: str) -> Any:
        nothing = _Nothing()
        nothing.engine = self.engines.of(model)  # vLLM's own
        return nothing


class _NoTelemetry(_Nothing):
    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.facts: dict[str, Any] = {}


class _NoTelemetryMiddleware:
    def __init__(self, app: ASGIApp, **_: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["telemetry"] = _NoTelemetry()
        await self._app(scope, receive, send)


@contextmanager
def _any_place(*_: Any, **__: Any) -> Generator[None]:
    yield


class _Anyone(_Nothing):
    def slot(self, _: float) -> AbstractAsyncContextManager[None]:
        return nullcontext()


@contextmanager
def _any_time(*_: Any, **__: Any) -> Generator[_Anyone]:
    yield _Anyone()


@asynccontextmanager
async def _at_once(*_: Any) -> AsyncGenerator[None]:
    yield


def serve(argv: list[str]) -> int:
    main.Metrics = _NoMetrics  # type: ignore[attr-defined]
    main.TelemetryMiddleware = _NoTelemetryMiddleware  # type: ignore[attr-defined,assignment]
    Admission.place = _any_place  # type: ignore[method-assign]
    Admission.arriving = _any_time  # type: ignore[assignment]
    RequestLimit.place = _any_place  # type: ignore[method-assign]
    FairQueue.slot = _at_once  # type: ignore[assignment]
    return cli(argv)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
