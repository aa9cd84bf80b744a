"""What a job is."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"
    PROVEN = "proven"
    REJECTED = "rejected"
    PROMOTED = "promoted"

    @property
    def active(self) -> bool:
        return self in (JobStatus.QUEUED, JobStatus.RUNNING)

    @property
    def is_reusable(self) -> bool:
        """Whether asking for the same again is answered with this job."""
        return self.active or self in (JobStatus.PROVEN, JobStatus.REJECTED, JobStatus.PROMOTED)


@dataclass
class Job:
    """A record.

    request: what was asked for; key: the same for the same request.
    facts: what the work has found out so far.
    progress: {"done", "total", "eta_seconds"} of the stage.
    committed: too far gone to be cancelled.
    on_failure: its status again where the work that runs fails; None takes the status of the end.
    Times are in Unix seconds: when it was taken, and when its run through the queue began and
    ended. Work on it beside the queue has none here.
    """

    id: str
    request: dict[str, Any]
    key: str
    status: JobStatus = JobStatus.QUEUED
    stage: str = ""
    progress: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    committed: bool = False
    on_failure: JobStatus | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))
    started_at: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended; `facts` join the job's. `error` is of a last step that failed
    without taking back what the status says."""

    status: JobStatus
    facts: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None


class JobReporter:
    """What work says of itself while it goes on. For the event loop's thread."""

    def __init__(self, job: Job, on_event: Callable[[Job, dict[str, Any]], None]) -> None:
        self._job = job
        self._on_event = on_event

    def commit(self) -> None:
        """From here on the work cannot be cancelled: half of what follows would be worse than all
        or nothing of it."""
        self._job.committed = True

    def stage(self, name: str) -> None:
        self._job.stage, self._job.progress = name, None
        self._on_event(self._job, {"type": "stage", "stage": name})

    def progress(self, done: int, total: int, eta_seconds: float | None, **more: Any) -> None:
        self._job.progress = {"done": done, "total": total, "eta_seconds": eta_seconds}
        event = {"type": "progress", "stage": self._job.stage, **self._job.progress, **more}
        self._on_event(self._job, event)

    def facts(self, **facts: Any) -> None:
        self._job.facts |= facts
        self._on_event(self._job, {"type": "facts", "facts": sorted(facts)})


Work = Callable[[Job, JobReporter], Coroutine[Any, Any, Outcome]]
