"""Records of jobs on the disk, which belong to one process at a time."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from app.files import write_json
from app.jobs.job import Job, JobStatus
from app.jobs.ownership import Ownership

log = logging.getLogger(__name__)

_RECORD = TypeAdapter(Job)


class Records:
    """Keeps records as <folder>/<id>.json, each replaced as a whole; whoever holds .<folder>.lock
    has the records.

    One thread writes them, in the order in which they are saved: a disk may take seconds for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, "job-records")
        self._ownership = Ownership(folder)

    def take(self) -> None:
        """Lock the records. Raises JobsElsewhere, RecordNotKept."""
        self._ownership.take()

    def leave(self) -> None:
        """Free the records for another process, once all is written. Blocking."""
        self.flush()
        self._ownership.release()

    def flush(self) -> None:
        """Wait until all that was saved is written, or was not. Blocking."""
        self._writer.submit(int).result()

    def save(self, job: Job) -> Future[None]:
        """Write a job's record as it is now; the result has the OSError where that fails."""
        return self._writer.submit(write_json, self._folder / f"{job.id}.json", asdict(job))

    def delete(self, job_id: str) -> Future[None]:
        """Delete a job's record, after what was saved of it; the result has the OSError where that
        fails."""
        path = self._folder / f"{job_id}.json"
        return self._writer.submit(partial(path.unlink, missing_ok=True))

    def load(self) -> dict[str, Job]:
        """The oldest first, where one that ran when its process died is interrupted."""
        jobs = {}
        for job in read_records(self._folder):
            if job.status is JobStatus.RUNNING:
                job.status = job.on_failure or JobStatus.INTERRUPTED
                self.save(job)  # where that fails, it will be found so again
            jobs[job.id] = job
        return jobs


def read_records(folder: Path) -> Iterator[Job]:
    """Every job on the disk as it stands there, the oldest first; for whoever does not have the
    records, and only looks. What cannot be read is left where it is, and told of."""
    for path in sorted(folder.glob("*.json")):  # ids are in order of time
        try:
            yield _RECORD.validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("the record %s cannot be read: %s", path, error)
