"""The events of a job in this process, for those who follow the job."""

import logging
from collections.abc import AsyncGenerator
from typing import Any

from app.errors import CanaryFailed, MarlinscribeError, StartupError
from app.jobs.job import Job
from app.replay import Replay

log = logging.getLogger(__name__)

_MOST_EVENTS = 2000  # half a megabyte: a proof tells of each of its recordings


class Log:
    """Keeps a job's events. `end` is the last, once the job is over."""

    def __init__(self, job: Job) -> None:
        self.end: dict[str, Any] | None = None
        self._events: Replay[dict[str, Any]] = Replay(over=not job.status.active, most=_MOST_EVENTS)

    def add(self, event: dict[str, Any]) -> None:
        self._events.add(event)

    def close(self, end: dict[str, Any]) -> None:
        self.end = end
        self._events.close()

    def open(self) -> None:
        """Continue the events: there is further work on the job."""
        self.end = None
        self._events.open()

    def follow(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield the events that there are, then those that come, until the job is over."""
        return self._events.follow()


def end_of(job: Job, at: int | None) -> dict[str, Any]:
    """Return a job's last event; `at` in Unix seconds."""
    return {"type": "status", "status": job.status, "error": job.error, "at": at}


def error_body(error: BaseException) -> dict[str, str]:
    """An error as the record has it: with the transcripts that no log may have."""
    if not isinstance(error, MarlinscribeError):
        log.error("a job failed", exc_info=error)
        return {"code": "internal_error", "message": f"{type(error).__name__}: {error}"}
    advice = {"advice": error.advice} if isinstance(error, StartupError) else {}
    transcripts = error.transcripts if isinstance(error, CanaryFailed) else ""
    return {"code": error.code, "message": f"{error.message} {transcripts}".rstrip()} | advice
