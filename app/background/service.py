"""The queue of transcriptions in the background, and its workers."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from app.audio.recording import RecordingFile
from app.background.bounds import Bounds
from app.background.deliveries import Deliveries
from app.background.job import Ask, Status, TranscriptionJob, error_of
from app.background.live import Live, News
from app.background.order import Order
from app.background.runner import Runner, waiting_again
from app.background.store import Store
from app.background.webhooks import event
from app.errors import (
    JobConflict,
    MarlinscribeError,
    Unavailable,
    UnknownJob,
    UploadNotStored,
)
from app.metrics import Metrics
from app.outbound.addresses import Resolve, resolve
from app.process import run_shielded
from app.serving.state import ServiceState
from app.settings import Settings
from app.transcription.background import BackgroundTranscriptions
from app.transcription.results import Transcript
from app.transcription.session import Transcriptions

log = logging.getLogger(__name__)

_LOOK_AGAIN = 5.0  # seconds, for jobs that another process has
_BETWEEN_PRUNINGS = 600.0  # seconds
_NO_ROOM = 30.0  # seconds, until the disk may have some
_DAY = 86_400  # seconds


class BackgroundJobs:
    """Keeps, queues and does transcriptions that nobody waits for. For the event loop's thread."""

    def __init__(
        self, settings: Settings, state: ServiceState, shared: Transcriptions, metrics: Metrics,
        pause_seconds: float = 10.0, resolving: Resolve = resolve,
    ) -> None:  # fmt: skip
        """Read the jobs there are; none are here while another process has them. `pause_seconds`
        lie between two tries of one. `resolving` finds the addresses of webhooks. Blocking."""
        self._settings = settings
        self._metrics = metrics.background
        self._store = Store(settings.cache_dir / "transcriptions")
        work = BackgroundTranscriptions(shared)
        self._runner = Runner(state, work, self._store, metrics, pause_seconds)
        self._jobs: dict[str, TranscriptionJob] = {}
        self.bounds = Bounds(settings)
        self.bounds.jobs = self._jobs.values
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lives: dict[str, Live] = {}
        self._order = Order()
        self._deliveries = Deliveries(settings, metrics.background, self._save, resolving)
        self._wake, self.taken = asyncio.Event(), asyncio.Event()
        self._elsewhere: Unavailable | None = None
        self._take()
        self._meter()

    @property
    def is_here(self) -> bool:
        """Whether this process has the jobs."""
        return self._elsewhere is None

    def check_here(self) -> None:
        """Check that this process has the jobs. Raises JobsElsewhere, RecordNotKept."""
        if self._elsewhere:
            raise self._elsewhere.with_traceback(None)

    async def submit(self, ask: Ask, recording: RecordingFile | Path) -> TranscriptionJob:
        """Keep a recording and queue its job, which is there for good then; one that is kept at a
        path already takes no more room. Raises JobsFull, UploadNotStored, JobsElsewhere."""
        self.check_here()
        size = 0 if isinstance(recording, Path) else recording.size
        # In order of time, so that a listing of the folder is.
        job = TranscriptionJob(f"tjob_{time.time_ns():016x}{secrets.token_hex(8)}", ask)
        job.stored_bytes = size
        self.bounds.check_jobs(ask.owner)
        with self.bounds.coming(ask.owner, size):
            try:
                await asyncio.to_thread(self._store.create, job, recording)
            except OSError as error:
                raise UploadNotStored(f"The recording cannot be kept: {error.strerror}.") from error
        self._jobs[job.id] = job
        self._wake.set()
        return job

    def get(self, owner: str, job_id: str) -> TranscriptionJob:
        """Return one of an owner's jobs. Raises UnknownJob, of another's as of none."""
        self.check_here()
        job = self._jobs.get(job_id)
        if job is None or job.ask.owner != owner:
            raise UnknownJob(f"There is no transcription {job_id!r}.", param="id")
        return job

    def all(self, owner: str) -> list[TranscriptionJob]:
        """Return an owner's jobs, the newest first."""
        self.check_here()
        several = reversed(self._jobs.values())
        return [job for job in several if job.ask.owner == owner and not job.ask.batch]

    def of_batch(self, batch: str) -> dict[int, TranscriptionJob]:
        """Return a batch's jobs, by their lines."""
        return {job.ask.line: job for job in self._jobs.values() if job.ask.batch == batch}

    async def over(self, job: TranscriptionJob) -> None:
        """Wait until a job is over, or deleted."""
        if job.id in self._jobs and job.status.is_active:
            async for _ in self._live(job).follow():
                pass

    async def transcript(self, owner: str, job_id: str) -> Transcript:
        """Return a job's result. Raises UnknownJob, and JobConflict where there is none."""
        job = self.get(owner, job_id)
        if job.status is not Status.COMPLETED:
            code = "job_failed" if job.status is Status.FAILED else "job_not_over"
            raise JobConflict(f"The transcription is {job.status}: it has no result.", code=code)
        try:
            return await asyncio.to_thread(self._store.transcript, job_id)
        except FileNotFoundError:  # deleted meanwhile
            raise UnknownJob(f"There is no transcription {job_id!r}.", param="id") from None

    async def delete(self, owner: str, job_id: str) -> None:
        """Cancel a job that is not over, and delete it with all that it has. Raises UnknownJob."""
        await self.remove(self.get(owner, job_id))

    async def events(self, owner: str, job_id: str) -> AsyncGenerator[News]:
        """Yield a job's segments so far and its progress, then those that come, until it is over.
        Raises UnknownJob."""
        job = self.get(owner, job_id)
        if job.status.is_active:
            async with aclosing(self._live(job).follow()) as news:
                async for one in news:
                    yield one
        elif job.status is Status.COMPLETED:
            for segment in (await self.transcript(owner, job_id)).segments:
                yield segment

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Do the jobs while the context lasts. Those that are under way when it ends wait for the
        next process."""
        tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._prune())]
        try:
            yield
        finally:
            tasks += self._tasks.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for live in self._lives.values():
                live.close()
            await self._deliveries.close()
            await asyncio.to_thread(self._store.leave)

    async def _run(self) -> None:
        while self._elsewhere:
            await asyncio.sleep(_LOOK_AGAIN)
            await asyncio.to_thread(self._take)
        self.taken.set()
        for job in self._jobs.values():
            self._deliveries.begin(job)
        while True:
            self._wake.clear()
            while len(self._tasks) < self._settings.background_running:
                following = self._order.next(self._jobs.values())
                if following is None:
                    break
                self._begin(following)
            await self._wake.wait()

    def _begin(self, job: TranscriptionJob) -> None:
        job.status, job.started_at = Status.IN_PROGRESS, job.started_at or int(time.time())
        task = asyncio.create_task(self._do(job))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: TranscriptionJob) -> None:
        del self._tasks[job.id]
        if job.status is Status.IN_PROGRESS:  # cancelled, maybe before its first step
            job.status = Status.QUEUED
            waiting_again(job)
        self._wake.set()

    async def _do(self, job: TranscriptionJob) -> None:
        transcript, status = None, Status.FAILED
        try:
            transcript = await self._runner.run(job, self._live(job))
            status = Status.COMPLETED
        except Exception as error:
            job.error = _told(job, error)
        await self._finish(job, status, transcript)

    async def _finish(
        self, job: TranscriptionJob, status: Status, transcript: Transcript | None
    ) -> None:
        """Keep how a job ended, however long the disk has no room for that."""
        over = replace(job, status=status, finished_at=int(time.time()))
        over.delivery = event(f"transcription.{status}", job.id, job.ask.webhook_url)
        while True:
            try:
                over = await run_shielded(self._store.finish, over, transcript)
                break
            except OSError as error:
                log.error("how job %s ended cannot be kept yet: %s", job.id, error)
                await asyncio.sleep(_NO_ROOM)
        job.status, job.finished_at, job.stored_bytes = status, over.finished_at, over.stored_bytes
        job.delivery = over.delivery
        self._deliveries.begin(job)
        self._metrics.ended.labels(status).inc()
        if live := self._lives.pop(job.id, None):
            live.close()
        log.info("job %s: %s", job.id, status)

    def _live(self, job: TranscriptionJob) -> Live:
        return self._lives.setdefault(job.id, Live())

    async def remove(self, job: TranscriptionJob) -> None:
        """Delete a job, where it is still there."""
        if self._jobs.pop(job.id, None) is None:
            return
        job.delivery = None
        if task := self._tasks.get(job.id):
            task.cancel()
            await asyncio.wait({task})
        if live := self._lives.pop(job.id, None):
            live.close()
        with suppress(OSError):  # what is left, the next start finds again
            await run_shielded(self._store.delete, job.id)

    async def _save(self, job: TranscriptionJob) -> None:
        await run_shielded(self._store.save, job)

    async def _prune(self) -> None:
        """Delete what is over for as long as the settings keep it."""
        while True:
            oldest = time.time() - self._settings.background_days * _DAY
            for job in list(self._jobs.values()):
                if job.finished_at is not None and job.finished_at < oldest:
                    log.info("job %s is deleted: it was over for long enough", job.id)
                    await self.remove(job)
            await asyncio.sleep(_BETWEEN_PRUNINGS)

    def _take(self) -> None:
        """Lock the jobs and read them. Blocking."""
        try:
            self._store.take()
        except Unavailable as error:
            self._elsewhere = error
            return
        jobs = {job.id: job for job in self._store.load()}
        for job in jobs.values():
            if job.status.is_active:
                job.status = Status.QUEUED
                waiting_again(job)
        self._elsewhere = None
        self._jobs.update(jobs)

    def _meter(self) -> None:
        for status in Status:
            self._metrics.jobs.labels(status).set_function(partial(self._count, status))
            self._metrics.ended.labels(status)  # there from the start: a first one is an increase
        self._metrics.stored.set_function(
            lambda: sum(job.stored_bytes for job in self._jobs.values())
        )

    def _count(self, status: Status) -> int:
        return sum(job.status is status for job in self._jobs.values())


def _told(job: TranscriptionJob, error: Exception) -> dict[str, str | None]:
    """Return a failure as OpenAI's error; a defect is logged, and not told."""
    if not isinstance(error, MarlinscribeError):
        log.error("job %s failed", job.id, exc_info=error)
        error = MarlinscribeError("The server failed on this recording; its log has the reason.")
    return error_of(error)
