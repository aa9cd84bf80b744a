"""The protocol of the quantizer's process: JSON lines, one object each, by which it reports.

    {"event": "progress", "done", "total", "eta_seconds"}   and of a layer, "layer" and "loss"
    {"event": "warning", "message"}    of our own code's log
    {"event": "done", "figures": {…}}
    {"event": "error", "kind", "message", "advice"}     kind: a key of quantizer_process.py's table

The lines go to a descriptor of their own, because libraries print to standard output.
"""

import errno
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import torch

from app.errors import BadRecipe, NoCalibration

_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "failed to map segment",  # the loader of shared objects
    "could not create a primitive",  # oneDNN, when it cannot allocate
)


class Reporter:
    """Writes events. The time that is left is extrapolated from the first progress reported."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._started: float | None = None

    def __call__(self, event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), file=self._stream, flush=True)

    def progress(self, done: int, total: int, **facts: Any) -> None:
        now = time.monotonic()
        self._started = self._started or now
        eta = (now - self._started) / done * (total - done) if done else None
        self("progress", done=done, total=total, eta_seconds=eta, **facts)


class _Warnings(logging.Handler):
    """Reports what our own code warns of: what is printed is the service's debug log."""

    def __init__(self, report: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report("warning", message=record.getMessage())


@contextmanager
def _warnings_to(report: Reporter) -> Iterator[None]:
    logger, handler = logging.getLogger("app"), _Warnings(report)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def run(events: int, work: Callable[[str, Reporter], dict[str, Any]]) -> int:
    """Do `work` on what standard input holds and report to the descriptor `events`; return the exit
    status."""
    with os.fdopen(events, "w") as stream:
        report = Reporter(stream)
        try:
            with _warnings_to(report):
                figures = work(sys.stdin.read(), report)
        except Exception as error:
            message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            report("error", kind=kind(error), message=message, advice=getattr(error, "advice", ""))
            if kind(error) == "failed":
                raise
            return 1
        report("done", figures=figures)
        return 0


def peaks() -> dict[str, int | None]:
    """Return the most memory that this process has held, in bytes: of the machine, and of a card,
    if there is one, as torch counts what it allocates there."""
    card = torch.cuda.is_available()
    return {
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if card else None,
    }


def kind(error: BaseException) -> str:
    """Return an error's kind, by what an operator can do about it and not by the library that
    raised it."""
    text = f"{error}".lower()
    if isinstance(error, NoCalibration):
        return "no_calibration"
    if isinstance(error, BadRecipe):
        return "bad_recipe"
    if getattr(error, "errno", None) == errno.ENOSPC or "no space left" in text:
        return "disk_full"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(m in text for m in _MEMORY):
        return "out_of_memory"
    return "failed"
