"""`marlinscribe serve` without metrics and accounts of ours and without admission: what
bench.overhead compares the service with. vLLM keeps its own statistics in both."""

import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app import main
from app.admission.control import Admission
from app.admission.fair_queue import FairQueue
from app.cli import main as cli
from app.metrics import Metrics
from app.transcription.results import Turn


class _Nothing:
    """Takes any call."""

    def __getattr__(self, _: str) -> "_Nothing":
        return self

    def __call__(self, *_: Any, **__: Any) -> "_Nothing":
        return self


class _NoMetrics(Metrics):
    def __init__(self) -> None:
        super().__init__()
        for name in vars(self).keys() - {"registry"}:
            setattr(self, name, _Nothing())


class _NoAccount(_Nothing):
    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.facts: dict[str, Any] = {}

    def stage(self, _: str) -> AbstractContextManager[None]:
        return nullcontext()


class _NoAccounts:
    def __init__(self, app: ASGIApp, **_: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["account"] = _NoAccount()
        await self._app(scope, receive, send)


@contextmanager
def _any_place(*_: Any, **__: Any) -> Generator[None]:
    yield


@contextmanager
def _any_time(*_: Any, **__: Any) -> Generator[Turn]:
    yield lambda _: nullcontext()


@asynccontextmanager
async def _at_once(*_: Any) -> AsyncGenerator[None]:
    yield


def serve(argv: list[str]) -> int:
    main.Metrics = _NoMetrics  # type: ignore[attr-defined]
    main.TelemetryMiddleware = _NoAccounts  # type: ignore[attr-defined,assignment]
    Admission.place = _any_place  # type: ignore[method-assign]
    Admission.queued = _any_time  # type: ignore[method-assign]
    FairQueue.turn = _at_once  # type: ignore[assignment]
    return cli(argv)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
