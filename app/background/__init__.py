"""Transcriptions that nobody waits for: jobs that outlive the process and its engine.

A job is a folder: its record, the recording as it was uploaded, a log of the windows that are
finished, and at the end the transcript. A server that is killed decodes the recording again, finds
the finished windows in the log, and goes on with the others.
"""

from app.background.batch import ENDPOINT, WINDOW, Batch, BatchStatus
from app.background.batches import Batches, new_batch_id
from app.background.files import StoredFile
from app.background.job import Ask, Progress, Status, TranscriptionJob
from app.background.service import BackgroundJobs

__all__ = [
    "ENDPOINT",
    "WINDOW",
    "Ask",
    "BackgroundJobs",
    "Batch",
    "BatchStatus",
    "Batches",
    "Progress",
    "Status",
    "StoredFile",
    "TranscriptionJob",
    "new_batch_id",
]
