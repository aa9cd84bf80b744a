"""`marlinscribe serve` without metrics of ours and without admission: what bench.overhead compares
the service with."""

import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

from app import main
from app.admission.gate import Admission
from app.api import account
from app.asr.transcript import Turn
from app.cli import main as cli
from app.metrics import Metrics


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


class _NoAccounts(account.AccountMiddleware):
    def _close(self, *_: Any) -> None:
        pass


@contextmanager
def _any_time(*_: Any, **__: Any) -> Generator[Turn]:
    yield lambda _: nullcontext()


if __name__ == "__main__":
    main.Metrics = _NoMetrics  # type: ignore[misc]
    main.AccountMiddleware = _NoAccounts  # type: ignore[misc]
    Admission.queued = _any_time  # type: ignore[method-assign]
    sys.exit(cli(sys.argv[1:]))
