"""Where the service is on its way up, told to whoever asks: health checks, clients, a terminal.

resolving ► quantizing ► loading ► warming ► ready | failed
and from ready, back to it: exchanging (one checkpoint for another), maintenance (the device is a
job's).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.errors import StartupError


class Stage(StrEnum):
    RESOLVING = "resolving"
    QUANTIZING = "quantizing"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    EXCHANGING = "exchanging"
    MAINTENANCE = "maintenance"
    FAILED = "failed"


# Seconds a client does well to wait where the stage has no estimate of its own.
_RETRY_AFTER = {
    Stage.RESOLVING: 30,
    Stage.QUANTIZING: 60,
    Stage.LOADING: 10,
    Stage.WARMING: 2,
    Stage.EXCHANGING: 10,
    Stage.MAINTENANCE: 60,
    Stage.FAILED: 60,
}
_LONGEST_RETRY = 120  # openai's SDK does not wait for longer than that


@dataclass(frozen=True)
class Status:
    """One moment of a start. done, total: units of the stage (layers). eta in seconds."""

    stage: Stage
    detail: str = ""
    done: int | None = None
    total: int | None = None
    eta_seconds: float | None = None
    error: StartupError | None = None
    since: float = field(default_factory=time.time)

    @property
    def retry_after(self) -> int:
        """Whole seconds."""
        wait = self.eta_seconds or _RETRY_AFTER.get(self.stage, 5)
        return max(1, min(_LONGEST_RETRY, round(wait)))

    def body(self) -> dict[str, Any]:
        """What /health/ready answers."""
        body: dict[str, Any] = {"status": self.stage.value}
        if self.detail:
            body["detail"] = self.detail
        if self.total:
            body["progress"] = {
                "done": self.done,
                "total": self.total,
                "eta_seconds": None if self.eta_seconds is None else round(self.eta_seconds),
            }
        if self.error:
            body["reason"], body["advice"] = self.error.message, self.error.advice
            body["code"] = self.error.code
        return body


class Startup:
    """The current Status, and those who want to hear of each new one."""

    def __init__(self) -> None:
        self.status = Status(Stage.RESOLVING)
        self._listeners: list[Callable[[Status], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()

    def listen(self, listener: Callable[[Status], None]) -> None:
        self._listeners.append(listener)
        listener(self.status)

    def enter(self, stage: Stage, detail: str = "", **progress: Any) -> None:
        self.status = Status(stage, detail, **progress)
        for listener in self._listeners:
            listener(self.status)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def left(self, stage: Stage, seconds: float) -> bool:
        """Wait until the stage is another one, at most so long; whether it is. For the event
        loop's thread, as `enter` is then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.status.stage is stage:
            if loop.time() >= deadline:
                return False
            waiter = loop.create_future()
            self._waiters.add(waiter)
            await asyncio.wait({waiter}, timeout=deadline - loop.time())
            self._waiters.discard(waiter)
        return True
