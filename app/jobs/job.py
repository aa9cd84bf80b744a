"""A job, its status, and what its work reports."""

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
    """A job's record. Times are Unix seconds.

    request: what was asked for; key: the same for the same request.
    facts: what the work has found out so far.
    progress: {"done", "total", "eta_seconds"} of the stage.
    committed: whether the work has gone too far to be cancelled.
    on_failure: the job's status where further work fails; None takes the status of the end.
    created_at: when the job was queued. started_at, finished_at: of the run through the queue;
        further work beside the queue has no times here.
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
    """How a piece of work ended; `facts` join the job's. `error` is that of a last step that failed
    and left the status as it is."""

    status: JobStatus
    facts: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None


class JobReporter:
    """Reports what a job's work does while it goes on. For the event loop's thread."""

    def __init__(self, job: Job, on_event: Callable[[Job, dict[str, Any]], None]) -> None:
        self._job = job
        self._on_event = on_event

    def commit(self) -> None:
        """Rule out cancellation from here on: half of what follows would be worse than all or
        nothing."""
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
