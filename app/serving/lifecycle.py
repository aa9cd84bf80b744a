"""Where the service is on its way up, told to whoever asks: health checks, clients, a terminal.

resolving ► quantizing ► loading ► warming ► ready | failed
and from ready, back to it: exchanging (one checkpoint for another), maintenance (the device is a
job's), restarting (the engine is gone and is started again), idle (nobody wants it: it is started
again for the next request). From everywhere: stopping, which is the end.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.errors import StartupError, whole_seconds


class Stage(StrEnum):
    RESOLVING = "resolving"
    QUANTIZING = "quantizing"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    EXCHANGING = "exchanging"
    MAINTENANCE = "maintenance"
    RESTARTING = "restarting"
    IDLE = "idle"
    STOPPING = "stopping"
    FAILED = "failed"


# Seconds a client does well to wait where the stage has no estimate of its own.
_RETRY_AFTER = {
    Stage.RESOLVING: 30,
    Stage.QUANTIZING: 60,
    Stage.LOADING: 10,
    Stage.WARMING: 2,
    Stage.EXCHANGING: 10,
    Stage.MAINTENANCE: 60,
    Stage.RESTARTING: 15,
    Stage.IDLE: 10,
    Stage.STOPPING: 10,
    Stage.FAILED: 60,
}


@dataclass(frozen=True)
class Status:
    """One moment of a start. done, total: units of the stage (layers). eta: seconds, from `since`
    on."""

    stage: Stage
    detail: str = ""
    done: int | None = None
    total: int | None = None
    eta_seconds: float | None = None
    error: StartupError | None = None
    since: float = field(default_factory=time.time)

    @property
    def retry_after(self) -> int:
        """Whole seconds, from now."""
        if self.eta_seconds:
            wait = self.eta_seconds - (time.time() - self.since)
        else:
            wait = _RETRY_AFTER.get(self.stage, 5)
        return whole_seconds(wait)

    @property
    def answers(self) -> bool:
        """Whether a transcription that comes now is answered, at once or after a short wait."""
        return self.stage in (Stage.READY, Stage.IDLE)

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


class Lifecycle:
    """The current Status, and those who want to hear of each new one.

    engine_seconds: how long the last engine took to start, once there was one.
    """

    def __init__(self) -> None:
        self.status = Status(Stage.RESOLVING)
        self.engine_seconds: float | None = None
        self._listeners: list[Callable[[Status], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()

    def listen(self, listener: Callable[[Status], None]) -> None:
        self._listeners.append(listener)
        listener(self.status)

    def enter(self, stage: Stage, detail: str = "", **progress: Any) -> None:
        """Say where the service is now. Nothing comes after STOPPING: what is still at work then
        does not let anybody in again."""
        if self.status.stage is Stage.STOPPING:
            return
        self.status = Status(stage, detail, **progress)
        for listener in self._listeners:
            listener(self.status)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def eta(self, pause: float = 0) -> float | None:
        """Seconds until an engine serves that is started after a pause, if it takes as long as the
        last one."""
        return pause + self.engine_seconds if self.engine_seconds else None

    async def left(self, stages: Collection[Stage], seconds: float) -> bool:
        """Wait until the stage is none of these, at most so long; whether it is. For the event
        loop's thread, as `enter` is then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.status.stage in stages:
            if loop.time() >= deadline:
                return False
            waiter = loop.create_future()
            self._waiters.add(waiter)
            await asyncio.wait({waiter}, timeout=deadline - loop.time())
            self._waiters.discard(waiter)
        return True
