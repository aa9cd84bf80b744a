"""Jobs on the disk: a folder each, which is there as a whole or not at all.

<id>/job.json          the record
<id>/recording         as it was uploaded; gone once the job is over
<id>/windows.jsonl     finished windows; gone once the job is over
<id>/transcript.json   the result
"""

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter

from app.audio.recording import RecordingFile
from app.background.job import TranscriptionJob
from app.background.kept import AS_JSON
from app.files import write_whole
from app.folders import make_whole, sibling
from app.jobs import Ownership
from app.transcription.results import Transcript

log = logging.getLogger(__name__)

_JOB = TypeAdapter(TranscriptionJob)
_TRANSCRIPTS = TypeAdapter(list[Transcript], config=AS_JSON)
_RECORD, _RECORDING, _TRANSCRIPT = "job.json", "recording", "transcript.json"
_WINDOWS = "windows.jsonl"


@dataclass
class Store:
    """The folder of all jobs. Every method blocks, and raises OSError. writer: the thread that
    writes finished windows."""

    folder: Path
    writer: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "finished-windows")
    )

    def __post_init__(self) -> None:
        self._ownership = Ownership(self.folder)
        self._lock = Lock()  # so that nothing is written of a job that is being deleted

    def take(self) -> None:
        """Lock the folder. Raises JobsElsewhere, RecordNotKept."""
        self._ownership.take()

    def leave(self) -> None:
        """Free the folder for another process, once all is written."""
        self.writer.submit(int).result()
        self._ownership.release()

    def recording(self, job_id: str) -> Path:
        return self.folder / job_id / _RECORDING

    def windows(self, job_id: str) -> Path:
        return self.folder / job_id / _WINDOWS

    def create(self, job: TranscriptionJob, recording: RecordingFile | Path) -> None:
        """Keep a new job and its recording, or the file at a path under another name."""

        def fill(work: Path) -> None:
            if isinstance(recording, Path):
                os.link(recording, work / _RECORDING)
            else:
                recording.file.seek(0)
                with (work / _RECORDING).open("wb") as copy:
                    shutil.copyfileobj(recording.file, copy, 2**20)
            (work / _RECORD).write_bytes(_JOB.dump_json(job))

        make_whole(self.folder / job.id, fill)

    def save(self, job: TranscriptionJob) -> None:
        """Replace a job's record, unless the job is deleted."""
        self._write(job, _RECORD, _JOB.dump_json(job))

    def finish(self, job: TranscriptionJob, transcript: Transcript | None) -> TranscriptionJob:
        """Keep a job that is over, and its transcript where there is one; drop what it was made of.
        Return it with what it takes of the disk now."""
        folder, content = self.folder / job.id, b""
        if transcript:
            content = _TRANSCRIPTS.dump_json([transcript])
            self._write(job, _TRANSCRIPT, content)
        over = replace(job, stored_bytes=len(content))
        self.save(over)
        for name in (_RECORDING, _WINDOWS):
            (folder / name).unlink(missing_ok=True)
        return over

    def transcript(self, job_id: str) -> Transcript:
        """Read the result of a job."""
        content = (self.folder / job_id / _TRANSCRIPT).read_bytes()
        (transcript,) = _TRANSCRIPTS.validate_json(content)
        return transcript

    def delete(self, job_id: str) -> None:
        """Delete a job. A kill in the middle leaves what the next start deletes."""
        gone = sibling(self.folder / job_id, "partial")
        with self._lock:
            os.rename(self.folder / job_id, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _write(self, job: TranscriptionJob, name: str, content: bytes) -> None:
        with self._lock:
            if (self.folder / job.id).is_dir():
                write_whole(self.folder / job.id / name, content)

    def load(self) -> Iterator[TranscriptionJob]:
        """Yield every job, the oldest first; drop what is half-made or half-deleted."""
        if not self.folder.is_dir():
            return
        for folder in sorted(self.folder.iterdir()):  # ids are in order of time
            if folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                yield _JOB.validate_json((folder / _RECORD).read_bytes())
            except (OSError, ValueError) as error:
                log.warning("the job in %s cannot be read: %s", folder, error)
