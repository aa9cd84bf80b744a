"""Jobs on the disk."""

import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from app.files import write_json
from app.jobs.job import Job, JobStatus

log = logging.getLogger(__name__)

_RECORD = TypeAdapter(Job)


class Records:
    """<folder>/<id>.json, each replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, job: Job) -> None:
        write_json(self._folder / f"{job.id}.json", asdict(job))

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
                job.status = job.otherwise or JobStatus.INTERRUPTED
                with suppress(OSError):  # it will be found so again
                    self.save(job)
            jobs[job.id] = job
        return jobs
