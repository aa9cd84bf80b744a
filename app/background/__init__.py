"""Transcriptions that nobody waits for: jobs that outlive the process and its engine.

A job is a folder: its record, the recording as it was uploaded, a log of the windows that are
finished, and at the end the transcript. A server that is killed decodes the recording again, finds
the finished windows in the log, and goes on with the others.
"""

from app.background.job import Ask, Progress, Status, TranscriptionJob
from app.background.service import BackgroundJobs

__all__ = ["Ask", "BackgroundJobs", "Progress", "Status", "TranscriptionJob"]
