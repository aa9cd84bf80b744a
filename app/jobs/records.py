"""Jobs on the disk, which are one process's at a time."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from app.errors import JobsElsewhere, RecordNotKept
from app.files import write_json
from app.jobs.job import Job, JobStatus

log = logging.getLogger(__name__)

_RECORD = TypeAdapter(Job)


class Records:
    """<folder>/<id>.json, each replaced as a whole; who holds .<folder>.lock has them.

    One thread writes them, in the order in which they are saved: a disk may take seconds for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, "job-records")
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"), thread_local=False)

    def take(self) -> None:
        """Have them to oneself: two processes would run each other's jobs. The kernel takes them
        back from one that dies. Raises JobsElsewhere, RecordNotKept."""
        path = Path(self._lock.lock_file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise JobsElsewhere(
                f"Another server does the jobs of {self._folder.parent}: ask that one, or give "
                "this one a MARLINSCRIBE_CACHE_DIR of its own.",
                retry_after=60,
            ) from error
        except OSError as error:
            raise RecordNotKept(f"Jobs cannot be recorded: {error}.") from error

    def leave(self) -> None:
        """To whoever comes next, once all is written. Blocking."""
        self.flush()
        self._lock.release(force=True)

    def flush(self) -> None:
        """Wait until all that was saved is written, or was not. Blocking."""
        self._writer.submit(int).result()

    def save(self, job: Job) -> Future[None]:
        """Write a job's record as it is now; the result has the OSError where that fails."""
        return self._writer.submit(write_json, self._folder / f"{job.id}.json", asdict(job))

    def load(self) -> dict[str, Job]:
        """The oldest first. A record that cannot be read is left where it is, and told of."""
        jobs = {}
        for path in sorted(self._folder.glob("*.json")):  # ids are in order of time
            try:
                job = _RECORD.validate_json(path.read_bytes())
            except (OSError, ValueError) as error:
                log.warning("the record %s cannot be read: %s", path, error)
                continue
            if job.status is JobStatus.RUNNING:
                job.status = job.on_failure or JobStatus.INTERRUPTED
                self.save(job)  # where that fails, it will be found so again
            jobs[job.id] = job
        return jobs
