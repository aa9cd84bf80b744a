"""The queue of jobs and its one worker."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from app.errors import JobConflict, JobsFull, RecordNotKept, Unavailable, UnknownJob
from app.jobs.job import Job, JobReporter, JobStatus, Outcome, Work
from app.jobs.log import Log, end_of, error_body
from app.jobs.records import Records

log = logging.getLogger(__name__)

_LAST_WAIT = 10  # seconds, for work to clean up when the process ends
_LOOK_AGAIN = 5  # seconds, for jobs that another process has
_MOST_LOGS = 32  # of jobs that are over: what they told beside their records
_RESUMABLE = (JobStatus.INTERRUPTED, JobStatus.CANCELLED, JobStatus.FAILED)

Listener = Callable[[Job, dict[str, Any]], None]


class Jobs:
    """Queues jobs and runs them, one at a time. For the event loop's thread."""

    def __init__(
        self, folder: Path, work: Work, *, most_waiting: int,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`folder` holds the records; it is created when the first job comes. While another process
        has the records there are no jobs here; `on_taken` is called where `run` gets them later."""
        self._records = Records(folder)
        self._work = work
        self._most_waiting = most_waiting
        self._on_taken = on_taken
        self._jobs: dict[str, Job] = {}
        self._new: dict[str, Future[None]] = {}  # their records are being written, by id
        self._elsewhere: Unavailable | None = None
        self._logs: dict[str, Log] = {}
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._cancelled: set[str] = set()
        self._listeners: list[Listener] = []
        self._wake = asyncio.Event()
        if not self._take():
            log.warning("there are no jobs here: %s", self._elsewhere)

    def check_here(self) -> None:
        """Check that this process has the jobs. Raises JobsElsewhere, RecordNotKept."""
        if self._elsewhere:
            raise self._elsewhere.with_traceback(None)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every event of every job from now on; the last event of each is its
        status."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Work through the queue, for as long as the task lives, once this process has the records.
        The job that runs when the task is cancelled is recorded as interrupted."""
        while self._elsewhere:
            await asyncio.sleep(_LOOK_AGAIN)
            if await asyncio.to_thread(self._take):
                self._on_taken()
        while True:
            waiting = self._with_status(JobStatus.QUEUED)
            if waiting and waiting[0].id in self._new:
                with suppress(RecordNotKept):
                    await self.kept(waiting[0])
                continue
            if not waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            task = self._begin(waiting[0], self._work)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task}, timeout=_LAST_WAIT)

    def submit(self, request: dict[str, Any], key: str, **facts: Any) -> tuple[Job, bool]:
        """Return the job for a request, and whether it is new; `facts` are a new job's first. It is
        there for good once it is `kept`, and not begun before. Raises JobsFull."""
        if standing := self._standing(key):
            return standing, False
        self._check_room()
        # In order of time, so that a listing of the folder is.
        job = Job(f"qjob_{time.time_ns():016x}{secrets.token_hex(3)}", request, key, facts=facts)
        self._jobs[job.id] = job
        self._new[job.id] = self._records.save(job)
        self._wake.set()
        return job, True

    async def kept(self, job: Job) -> None:
        """Wait until a job's record is on the disk, where a restart finds it. Raises RecordNotKept
        where it cannot be written; then there is no such job."""
        if (saving := self._new.get(job.id)) is None:
            if job.id not in self._jobs:  # somebody else saw it fail
                raise RecordNotKept("The job's record could not be written.")
            return
        error = saving.exception() if saving.done() else await asyncio.to_thread(saving.exception)
        self._new.pop(job.id, None)
        if error:
            self._jobs.pop(job.id, None)
            raise RecordNotKept(f"The job's record cannot be written: {error}.") from error

    def get(self, job_id: str) -> Job:
        """Return a job. Raises UnknownJob."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise UnknownJob(f"There is no job {job_id!r}.", param="id") from None

    def all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        return list(reversed(self._jobs.values()))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job. Raises UnknownJob, and JobConflict where there is nothing left to
        cancel."""
        job = self.get(job_id)
        if not job.status.active:
            raise JobConflict(f"The job is {job.status}; only one that is not over is cancelled.")
        if job.id in self._cancelled:
            return job  # it is cleaning up, which it may have committed itself to
        if job.committed:
            raise JobConflict(f"The job is {job.stage}, which is not broken off.")
        if job.id in self._tasks:
            self._cancelled.add(job.id)
            self._tasks[job.id].cancel()
        else:
            self._finish(job, JobStatus.CANCELLED)
        return job

    async def delete(self, job_id: str) -> None:
        """Forget a job that is over, its record and what it told. Raises UnknownJob, RecordNotKept,
        and JobConflict where it is not over."""
        job = self.get(job_id)
        if job.status.active:
            raise JobConflict(f"The job is {job.status}; only one that is over is deleted.")
        del self._jobs[job.id]  # before anything is waited for: nobody is to resume it meanwhile
        try:
            await asyncio.wrap_future(self._records.delete(job.id))
        except OSError as error:
            self._jobs = dict(sorted((self._jobs | {job.id: job}).items()))
            raise RecordNotKept(f"The job's record cannot be deleted: {error}.") from error
        self._logs.pop(job.id, None)

    def resume(self, job_id: str) -> Job:
        """Queue a job again; what it has made already is found and not made twice. Raises
        UnknownJob, JobsFull, and JobConflict where there is nothing to resume."""
        job = self.get(job_id)
        if job.status not in _RESUMABLE:
            raise JobConflict(f"The job is {job.status}; there is nothing to resume.")
        if standing := self._standing(job.key):
            raise JobConflict(f"{standing.id} has taken its place.")
        self._check_room()
        job.error = job.started_at = job.finished_at = job.progress = None
        job.status, job.stage, job.committed = JobStatus.QUEUED, "", False
        self._logs.pop(job.id, None)
        self._save(job)
        self._wake.set()
        return job

    def start_beside(self, job_id: str, work: Work) -> Job:
        """Begin further work on a job that is over, beside the queue: promotion does not wait for
        hours of other quantizing. The job runs meanwhile; where the work fails, the job has its
        former status again, with the error. Raises as `cancel`."""
        job = self.get(job_id)
        if job.status.active:
            raise JobConflict(f"The job is {job.status}.")
        self._begin(job, work, on_failure=job.status)
        return job

    def amend(self, job: Job, status: JobStatus, **facts: Any) -> None:
        """Record what became of a job after it was over. Its times stay; a job whose run was killed
        gets its end now."""
        job.facts |= facts
        job.status, job.finished_at = status, job.finished_at or int(time.time())
        self._save(job)
        if job.id in self._logs:
            self._logs[job.id].close(end_of(job, int(time.time())))

    async def events(self, job_id: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield the events of a job in this process, then those that come, until the job is over.
        The last event is the job's status. Raises UnknownJob."""
        job = self.get(job_id)
        log_ = self._log(job)
        async with aclosing(log_.follow()) as happening:
            async for event in happening:
                yield event
        yield log_.end or end_of(job, job.finished_at)

    async def close(self) -> None:
        """Interrupt what runs beside the queue, then free the records."""
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WAIT)
        await asyncio.to_thread(self.leave)

    def leave(self) -> None:
        """Free the records for another process; this one is done with them. Blocking."""
        self._records.leave()

    def _take(self) -> bool:
        """Lock the records and read them; return whether this process has them."""
        try:
            self._records.take()
        except Unavailable as error:
            self._elsewhere = error
            return False
        self._elsewhere, self._jobs = None, self._records.load()
        return True

    def _standing(self, key: str) -> Job | None:
        jobs = self._jobs.values()
        return next((job for job in jobs if job.key == key and job.status.is_reusable), None)

    def _check_room(self) -> None:
        if len(self._with_status(JobStatus.QUEUED)) >= self._most_waiting:
            raise JobsFull(f"{self._most_waiting} jobs are waiting, as many as may.")

    def _with_status(self, status: JobStatus) -> list[Job]:
        return [job for job in self._jobs.values() if job.status is status]

    def _begin(
        self, job: Job, work: Work, on_failure: JobStatus | None = None
    ) -> asyncio.Task[Outcome]:
        """Start work on a job; `on_failure` is the job's status where the work fails."""
        job.status, job.error = JobStatus.RUNNING, None
        job.committed, job.on_failure = False, on_failure
        if on_failure is None:  # times are the queued run's; further work has facts of its own
            job.started_at, job.finished_at = int(time.time()), None
        self._save(job)
        task = asyncio.create_task(work(job, JobReporter(job, self._on_event)))
        self._tasks[job.id] = task
        self._log(job).open()
        # Not around an await: a task cancelled before its first step never gets to one.
        task.add_done_callback(lambda task: self._ended(job, task))
        return task

    def _ended(self, job: Job, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[job.id]
        asked_for = job.id in self._cancelled
        self._cancelled.discard(job.id)
        if task.cancelled():
            status = JobStatus.CANCELLED if asked_for else JobStatus.INTERRUPTED
            self._finish(job, job.on_failure or status)
        elif error := task.exception():
            job.error = error_body(error)
            self._finish(job, job.on_failure or JobStatus.FAILED)
        else:
            outcome = task.result()
            job.facts |= outcome.facts
            job.error = error_body(outcome.error) if outcome.error else None
            self._finish(job, outcome.status)

    def _finish(self, job: Job, status: JobStatus) -> None:
        now = int(time.time())
        if job.on_failure is None:
            job.finished_at = now
        job.status, job.on_failure = status, None
        self._save(job)
        self._log(job).close(end_of(job, now))
        self._tell(job, end_of(job, now))
        log.info("job %s: %s", job.id, status)

    def _save(self, job: Job) -> None:
        """Write a job's record. A full disk costs the record's last change, not the queue."""

        def written(saving: Future[None]) -> None:
            if error := saving.exception():
                log.error("the record of job %s cannot be written: %s", job.id, error)

        self._records.save(job).add_done_callback(written)

    def _on_event(self, job: Job, event: dict[str, Any]) -> None:
        if event["type"] != "progress":
            self._save(job)
        self._log(job).add(event | {"at": round(time.time(), 3)})
        self._tell(job, event)

    def _tell(self, job: Job, event: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener(job, event)

    def _log(self, job: Job) -> Log:
        over = [one for one in self._logs if not self._jobs[one].status.active]
        for other in over[:-_MOST_LOGS]:
            del self._logs[other]
        return self._logs.setdefault(job.id, Log(job))
