"""Long-running jobs, one at a time, whose records outlive the process.

A job's record is a file, written whole at each change that matters. A server that is killed finds
its jobs again: the job that ran is interrupted, and may be resumed; those that waited go on. This
room does not know what the work of a job is.
"""

from app.jobs.job import Job, JobReporter, JobStatus, Outcome, Work
from app.jobs.ownership import Ownership
from app.jobs.records import Records, read_records
from app.jobs.runner import Jobs

__all__ = [
    "Job",
    "JobReporter",
    "JobStatus",
    "Jobs",
    "Outcome",
    "Ownership",
    "Records",
    "Work",
    "read_records",
]
