"""Jobs on the disk."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from app.files import write_json
from app.jobs.job import Job, JobStatus

log = logging.getLogger(__name__)


class Records:
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
