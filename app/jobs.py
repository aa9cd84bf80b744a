"""Long work, one piece at a time, whose records outlive the process.

A job's record is a file, written whole at each change that matters. A server that is killed finds
its jobs again: the one that ran is interrupted, and may be resumed; those that waited go on.
What the work is, this module does not know.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.errors import (
    JobConflict,
    JobsFull,
    MarlinscribeError,
    RecordNotKept,
    StartupError,
    UnknownJob,
)
from app.files import write_json

log = logging.getLogger(__name__)


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
    def stands(self) -> bool:
        """Whether asking for the same again is answered with this job."""
        return self.active or self in (JobStatus.PROVEN, JobStatus.REJECTED, JobStatus.PROMOTED)


_RESUMABLE = (JobStatus.INTERRUPTED, JobStatus.CANCELLED, JobStatus.FAILED)


@dataclass
class Job:
    """A record. request: what was asked for; key: the same for the same request; facts: what the
    work has found out so far; progress: {"done", "total", "eta_seconds"}; times in Unix seconds.
    """

    id: str
    request: dict[str, Any]
    key: str
    status: JobStatus = JobStatus.QUEUED
    stage: str = ""
    progress: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
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


class Teller:
    """What work says of itself while it goes on. For the event loop's thread."""

    def __init__(self, job: Job, on_event: Callable[[Job, dict[str, Any]], None]) -> None:
        self._job = job
        self._on_event = on_event

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


Work = Callable[[Job, Teller], Coroutine[Any, Any, Outcome]]


class Jobs:
    """The queue and its one worker. For the event loop's thread."""

    def __init__(self, folder: Path, work: Work, *, most_waiting: int) -> None:
        """`folder` holds the records; it is made when the first job comes."""
        self._records = _Records(folder)
        self._work = work
        self._most_waiting = most_waiting
        self._jobs = self._records.load()
        self._logs: dict[str, _Log] = {}
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._cancelled: set[str] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work through the queue, for as long as the task lives. What runs when it is cancelled is
        recorded as interrupted."""
        while True:
            waiting = self._with_status(JobStatus.QUEUED)
            if not waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            task = self._begin(waiting[0], self._work)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task})

    def submit(self, request: dict[str, Any], key: str) -> tuple[Job, bool]:
        """The job for a request, and whether it is new. Raises JobsFull, RecordNotKept."""
        for job in self._jobs.values():
            if job.key == key and job.status.stands:
                return job, False
        if len(self._with_status(JobStatus.QUEUED)) >= self._most_waiting:
            raise JobsFull(f"{self._most_waiting} jobs are waiting, as many as may.")
        # In order of time, so that a listing of the folder is.
        job = Job(f"qjob_{time.time_ns():016x}{secrets.token_hex(3)}", request, key)
        try:
            self._records.save(job)
        except OSError as error:
            raise RecordNotKept(f"The job's record cannot be written: {error}.") from error
        self._jobs[job.id] = job
        self._wake.set()
        return job, True

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise UnknownJob(f"There is no job {job_id!r}.", param="id") from None

    def all(self) -> list[Job]:
        """The newest first."""
        return list(reversed(self._jobs.values()))

    @property
    def running(self) -> bool:
        return bool(self._with_status(JobStatus.RUNNING))

    def cancel(self, job_id: str) -> Job:
        """Raises UnknownJob, and JobConflict where there is nothing left to cancel."""
        job = self.get(job_id)
        if not job.status.active:
            raise JobConflict(f"The job is {job.status}; only one that is not over is cancelled.")
        if job.id in self._tasks:
            self._cancelled.add(job.id)
            self._tasks[job.id].cancel()
        else:
            self._finish(job, JobStatus.CANCELLED)
        return job

    def resume(self, job_id: str) -> Job:
        """Queue it again; what it has made already is found and not made twice. Raises as
        `cancel`."""
        job = self.get(job_id)
        if job.status not in _RESUMABLE:
            raise JobConflict(f"The job is {job.status}; there is nothing to resume.")
        job.error = job.finished_at = job.progress = None
        job.status, job.stage = JobStatus.QUEUED, ""
        self._logs.pop(job.id, None)
        self._save(job)
        self._wake.set()
        return job

    def start_beside(self, job_id: str, work: Work) -> Job:
        """Further work on a job that is over, beside the queue: promotion does not wait for hours
        of somebody else's quantizing. The job runs meanwhile; where the work fails, it is again
        what it was, with the error. Raises as `cancel`."""
        job = self.get(job_id)
        if job.status.active:
            raise JobConflict(f"The job is {job.status}.")
        self._begin(job, work, otherwise=job.status)
        return job

    def amend(self, job: Job, status: JobStatus, **facts: Any) -> None:
        """Record what became of a job after it was over."""
        job.facts |= facts
        self._finish(job, status)

    async def events(self, job_id: str) -> AsyncGenerator[dict[str, Any]]:
        """What happened to a job in this process, then what happens, until it is over. The last
        event is its status. Raises UnknownJob."""
        job = self.get(job_id)
        told, log_ = 0, self._log(job)
        while told < len(log_.events) or job.status.active:
            if told == len(log_.events):
                await log_.more()
            else:
                yield log_.events[told]
                told += 1
        yield {"type": "status", "status": job.status, "error": job.error, "at": job.finished_at}

    async def close(self) -> None:
        """Interrupt what runs beside the queue."""
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _with_status(self, status: JobStatus) -> list[Job]:
        return [job for job in self._jobs.values() if job.status is status]

    def _begin(
        self, job: Job, work: Work, otherwise: JobStatus | None = None
    ) -> asyncio.Task[Outcome]:
        """Start work as a job's; `otherwise` is what the job is where it fails."""
        job.status, job.error, job.finished_at = JobStatus.RUNNING, None, None
        job.started_at = int(time.time())
        self._save(job)
        task = asyncio.create_task(work(job, Teller(job, self._on_event)))
        self._tasks[job.id] = task
        # Not around an await: a task cancelled before its first step never gets to one.
        task.add_done_callback(lambda task: self._ended(job, task, otherwise))
        return task

    def _ended(self, job: Job, task: asyncio.Task[Outcome], otherwise: JobStatus | None) -> None:
        del self._tasks[job.id]
        asked_for = job.id in self._cancelled
        self._cancelled.discard(job.id)
        if task.cancelled():
            status = JobStatus.CANCELLED if asked_for else JobStatus.INTERRUPTED
            self._finish(job, otherwise or status)
        elif error := task.exception():
            job.error = _told(error)
            self._finish(job, otherwise or JobStatus.FAILED)
        else:
            outcome = task.result()
            job.facts |= outcome.facts
            job.error = _told(outcome.error) if outcome.error else None
            self._finish(job, outcome.status)

    def _finish(self, job: Job, status: JobStatus) -> None:
        job.status, job.finished_at = status, int(time.time())
        self._save(job)
        self._log(job).wake()
        log.info("job %s: %s", job.id, status)

    def _save(self, job: Job) -> None:
        """A full disk costs the record's last change, not the queue."""
        try:
            self._records.save(job)
        except OSError as error:
            log.error("the record of job %s cannot be written: %s", job.id, error)

    def _on_event(self, job: Job, event: dict[str, Any]) -> None:
        if event["type"] != "progress":
            self._save(job)
        self._log(job).add(event | {"at": round(time.time(), 3)})

    def _log(self, job: Job) -> "_Log":
        return self._logs.setdefault(job.id, _Log())


def _told(error: BaseException) -> dict[str, str]:
    """An error as the record has it."""
    if not isinstance(error, MarlinscribeError):
        log.error("a job failed", exc_info=error)
        return {"code": "internal_error", "message": f"{type(error).__name__}: {error}"}
    advice = {"advice": error.advice} if isinstance(error, StartupError) else {}
    return {"code": error.code, "message": error.message} | advice


class _Log:
    """A job's events in this process, and those who wait for more."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def add(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def more(self) -> None:
        await self._news.wait()


class _Records:
    """<folder>/<id>.json, each replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, job: Job) -> None:
        write_json(self._folder / f"{job.id}.json", asdict(job))

    def load(self) -> dict[str, Job]:
        """The oldest first. A record that cannot be read is left where it is, and told of."""
        jobs = []
        for path in self._folder.glob("*.json"):
            try:
                record = json.loads(path.read_text("utf-8"))
                job = Job(**record | {"status": JobStatus(record["status"])})
            except (OSError, ValueError, TypeError, LookupError) as error:
                log.warning("the record %s cannot be read: %s", path, error)
                continue
            if job.status is JobStatus.RUNNING:
                job.status = JobStatus.INTERRUPTED
                self.save(job)
            jobs.append(job)
        return {job.id: job for job in sorted(jobs, key=lambda job: (job.created_at, job.id))}
