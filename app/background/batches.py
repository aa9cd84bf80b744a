"""Batches: each line of a file is a job in the background, and their results are files."""

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from pydantic import TypeAdapter

from app.background.batch import Batch, BatchStatus
from app.background.batch_lines import MOST_LINES, lines_of
from app.background.batch_results import Results
from app.background.batch_work import BatchWork, Reader
from app.background.deliveries import Deliveries
from app.background.files import Files
from app.background.service import BackgroundJobs
from app.background.webhooks import event
from app.errors import JobConflict, UnknownFile, UploadNotStored
from app.files import write_whole
from app.folders import make_whole, sibling
from app.metrics import Metrics
from app.outbound.addresses import Resolve, resolve
from app.process import run_shielded
from app.settings import Settings

log = logging.getLogger(__name__)

_BATCH = TypeAdapter(Batch)
_RECORD, _INPUT, _RESULTS = "batch.json", "input.jsonl", "results.jsonl"
_NO_ROOM = 30.0  # seconds, until the disk may have some
_BETWEEN_PRUNINGS = 600.0  # seconds
_DAY = 86_400  # seconds


class Batches:
    """Keeps batches and does them. For the event loop's thread. files: what clients upload and
    batches write."""

    def __init__(
        self, settings: Settings, jobs: BackgroundJobs, reader: Reader, metrics: Metrics,
        resolving: Resolve = resolve, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Read the batches and files there are, unless another process has them. `clock` tells the
        Unix seconds by which batches expire. Blocking."""
        self._settings = settings
        self._jobs = jobs
        self._reader = reader
        self._clock = clock
        self._folder = settings.cache_dir / "batches"
        self.files = Files(settings.cache_dir / "files", jobs.bounds)
        self._batches: dict[str, Batch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deliveries = Deliveries(settings, metrics.background, self._save, resolving)
        if jobs.is_here:
            self._load()

    def check_here(self) -> None:
        """Check that this process has the batches. Raises JobsElsewhere, RecordNotKept."""
        self._jobs.check_here()

    async def create(self, batch: Batch) -> Batch:
        """Keep a batch and begin it. Its input stays as it is though the file is deleted. Raises
        UnknownFile, JobsElsewhere, UploadNotStored."""
        self._jobs.check_here()
        source = self.files.path(self.files.get(batch.owner, batch.input_file_id, "input_file_id"))

        def fill(work: Path) -> None:
            os.link(source, work / _INPUT)
            (work / _RECORD).write_bytes(_BATCH.dump_json(batch))

        try:
            await asyncio.to_thread(make_whole, self._folder / batch.id, fill)
        except OSError as error:
            self.files.get(batch.owner, batch.input_file_id, "input_file_id")  # deleted meanwhile
            raise UploadNotStored(f"The batch cannot be kept: {error.strerror}.") from error
        self._batches[batch.id] = batch
        self._begin(batch)
        return batch

    def get(self, owner: str, batch_id: str) -> Batch:
        """Return one of an owner's batches. Raises UnknownFile, of another's as of none."""
        self._jobs.check_here()
        batch = self._batches.get(batch_id)
        if batch is None or batch.owner != owner:
            raise UnknownFile(f"There is no batch {batch_id!r}.", param="id")
        return batch

    def all(self, owner: str) -> list[Batch]:
        """Return an owner's batches, the newest first."""
        self._jobs.check_here()
        return [one for one in reversed(self._batches.values()) if one.owner == owner]

    async def cancel(self, owner: str, batch_id: str) -> Batch:
        """Cancel a batch: lines that are not done are not begun, and those under way are given up.
        Raises UnknownFile, JobConflict where it is over."""
        batch = self.get(owner, batch_id)
        if not batch.status.is_active:
            raise JobConflict(f"The batch is {batch.status}; there is nothing to cancel.")
        if batch.status not in (BatchStatus.CANCELLING, BatchStatus.FINALIZING):
            batch.enter(BatchStatus.CANCELLING)
            await self._save(batch)
            self._tasks[batch.id].cancel()
        return batch

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Do the batches while the context lasts, which must lie within that of the jobs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            tasks, self._tasks = [task, *self._tasks.values()], {}
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._deliveries.close()

    async def _run(self) -> None:
        """Begin what there is, then delete what is over for as long as the settings keep it."""
        if not self._jobs.is_here:
            await self._jobs.taken.wait()
            await asyncio.to_thread(self._load)
        for batch in self._batches.values():
            self._deliveries.begin(batch)
            if batch.status.is_active:
                self._begin(batch)
        while True:
            oldest = time.time() - self._settings.background_days * _DAY
            for batch in list(self._batches.values()):
                if batch.ended_at is not None and batch.ended_at < oldest:
                    await self._delete(batch)
            await self.files.prune(oldest)
            await asyncio.sleep(_BETWEEN_PRUNINGS)

    def _begin(self, batch: Batch) -> None:
        task = asyncio.create_task(self._do(batch))
        self._tasks[batch.id] = task
        task.add_done_callback(lambda _: self._ended(batch))

    def _ended(self, batch: Batch) -> None:
        """Go on with a batch that was cancelled, to its results: not with one that was left."""
        if self._tasks.pop(batch.id, None) and batch.status is BatchStatus.CANCELLING:
            self._begin(batch)

    async def _do(self, batch: Batch) -> None:
        results = Results(self._folder / batch.id / _RESULTS)
        while True:
            try:
                await asyncio.to_thread(results.read)
                batch.completed, batch.failed = results.counts
                if batch.status is not BatchStatus.CANCELLING and await self._may_begin(batch):
                    await self._work(batch, results)
                await self._finish(batch, results)
            except* Exception as errors:  # a full disk, or a defect: what is done stays done
                log.error("batch %s cannot go on yet", batch.id, exc_info=errors)
            if not batch.status.is_active:
                return
            await asyncio.sleep(_NO_ROOM)

    async def _may_begin(self, batch: Batch) -> bool:
        """Count a batch's lines; one with none, or too many, fails as a whole."""
        source = self._folder / batch.id / _INPUT
        batch.total = await asyncio.to_thread(lambda: sum(1 for _ in lines_of(source)))
        if 0 < batch.total <= MOST_LINES:
            batch.enter(BatchStatus.IN_PROGRESS)
            await self._save(batch)
            return True
        code = "empty_file" if not batch.total else "too_many_lines"
        message = f"The file has {batch.total} lines; there must be 1 to {MOST_LINES}."
        error = {"code": code, "message": message, "param": "input_file_id", "line": None}
        batch.errors = [error]
        return False

    async def _work(self, batch: Batch, results: Results) -> None:
        """Do the lines for as long as the batch's window lasts, and give up the others."""
        source = self._folder / batch.id / _INPUT
        work = BatchWork(
            batch,
            source,
            results,
            self._jobs,
            self.files,
            self._reader,
            self._settings,
        )
        window = asyncio.timeout(max(0.0, batch.expires_at - self._clock()))
        try:
            async with window:
                await work.run()
        except TimeoutError:
            if not window.expired():
                raise
            await run_shielded(_expire, results, source)
            batch.completed, batch.failed = results.counts

    async def _finish(self, batch: Batch, results: Results) -> None:
        """Write the results as files, and say that the batch is over. Raises UploadNotStored,
        OSError."""
        for job in self._jobs.of_batch(batch.id).values():
            await self._jobs.remove(job)
        end = _end(batch, results)
        if end in (BatchStatus.COMPLETED, BatchStatus.EXPIRED):
            batch.enter(BatchStatus.FINALIZING)
        if batch.completed and batch.output_file_id is None:
            batch.output_file_id = await self._written(batch, results, "output", is_good=True)
        if batch.failed and batch.error_file_id is None:
            batch.error_file_id = await self._written(batch, results, "error", is_good=False)
        batch.enter(end)
        batch.delivery = event(f"batch.{batch.status}", batch.id, batch.webhook_url)
        await self._save(batch)
        self._deliveries.begin(batch)
        log.info("batch %s: %s", batch.id, end)

    async def _written(self, batch: Batch, results: Results, kind: str, *, is_good: bool) -> str:
        """Keep some of the results as a file; return its id."""
        entries = results.entries
        size = await asyncio.to_thread(lambda: sum(map(len, entries(is_good=is_good))))
        file = await self.files.keep(
            batch.owner, f"{batch.id}_{kind}.jsonl", "batch_output", size,
            lambda sink: sink.writelines(entries(is_good=is_good)),
        )  # fmt: skip
        return file.id

    async def _save(self, batch: Batch) -> None:
        if batch.id in self._batches:
            path = self._folder / batch.id / _RECORD
            await run_shielded(write_whole, path, _BATCH.dump_json(batch))

    async def _delete(self, batch: Batch) -> None:
        del self._batches[batch.id]
        batch.delivery = None
        with suppress(OSError):
            await run_shielded(_drop, self._folder / batch.id)

    def _load(self) -> None:
        """Blocking."""
        self.files.load()
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                batch = _BATCH.validate_json((path / _RECORD).read_bytes())
                self._batches[batch.id] = batch
            except (OSError, ValueError) as error:
                log.warning("the batch in %s cannot be read: %s", path, error)


def new_batch_id() -> str:
    """Return an id, in order of time, so that a listing of the folder is."""
    return f"batch_{time.time_ns():016x}{secrets.token_hex(8)}"


def _end(batch: Batch, results: Results) -> BatchStatus:
    """Return the status that a batch ends with."""
    if batch.errors:
        return BatchStatus.FAILED
    if batch.status is BatchStatus.CANCELLING:
        return BatchStatus.CANCELLED
    return BatchStatus.EXPIRED if results.has_expired else BatchStatus.COMPLETED


def _expire(results: Results, source: Path) -> None:
    with closing(lines_of(source)) as lines:
        results.expire(lines)


def _drop(path: Path) -> None:
    gone = sibling(path, "partial")
    os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)
