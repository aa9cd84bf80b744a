"""Long work, one piece at a time, whose records outlive the process.

A job's record is a file, written whole at each change that matters. A server that is killed finds
its jobs again: the one that ran is interrupted, and may be resumed; those that waited go on.
What the work is, this module does not know.
"""

from app.jobs.job import Job, JobReporter, JobStatus, Outcome, Work
from app.jobs.records import Records, read_records
from app.jobs.runner import Jobs

__all__ = [
    "Job",
    "JobReporter",
    "JobStatus",
    "Jobs",
    "Outcome",
    "Records",
    "Work",
    "read_records",
]
