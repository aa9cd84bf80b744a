"""What happened to a job in this process, for those who watch it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from app.errors import MarlinscribeError, StartupError
from app.jobs.job import Job

log = logging.getLogger(__name__)


class Log:
    """A job's events, and those who wait for more. `end` is there once it is over."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        self._news = asyncio.Event()

    def add(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._wake()

    def close(self, end: dict[str, Any]) -> None:
        self.end = end
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, active: Callable[[], bool]) -> AsyncGenerator[dict[str, Any]]:
        """Those there are, then those that come, while the job is active and has no end yet."""
        told = 0
        while told < len(self.events) or (active() and not self.end):
            if told == len(self.events):
                await self._news.wait()
            else:
                yield self.events[told]
                told += 1


def end_of(job: Job, at: int | None) -> dict[str, Any]:
    """Its last event; `at` in Unix seconds."""
    return {"type": "status", "status": job.status, "error": job.error, "at": at}


def told(error: BaseException) -> dict[str, str]:
    """An error as the record has it."""
    if not isinstance(error, MarlinscribeError):
        log.error("a job failed", exc_info=error)
        return {"code": "internal_error", "message": f"{type(error).__name__}: {error}"}
    advice = {"advice": error.advice} if isinstance(error, StartupError) else {}
    return {"code": error.code, "message": error.message} | advice
