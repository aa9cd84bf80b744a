"""How much may be kept and wait in the background, in the whole service and for one client."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from math import ceil
from typing import Protocol

from app.admission.requests import SHARE
from app.background.job import TranscriptionJob
from app.errors import JobsFull, UploadNotStored
from app.settings import Settings


class Sized(Protocol):
    """A file of an owner's."""

    @property
    def owner(self) -> str: ...
    @property
    def size(self) -> int: ...


class Bounds:
    """Counts jobs that are not over, and bytes on the disk. For the event loop's thread. jobs,
    files: those that there are."""

    jobs: Callable[[], Iterable[TranscriptionJob]] = tuple
    files: Callable[[], Iterable[Sized]] = tuple

    def __init__(self, settings: Settings) -> None:
        self._most_jobs = settings.background_jobs
        self._most_bytes = settings.background_bytes
        self._coming: Counter[str] = Counter()  # bytes that are being stored, by owner

    @contextmanager
    def coming(self, owner: str, size: int) -> Generator[None]:
        """Count what is being stored. Raises UploadNotStored."""
        self._check_bytes(owner, size)
        self._coming[owner] += size
        try:
            yield
        finally:
            self._coming[owner] -= size

    def check_jobs(self, owner: str) -> None:
        """Raises JobsFull where no more jobs may wait."""
        active = Counter(job.ask.owner for job in self.jobs() if job.status.is_active)
        if active.total() >= self._most_jobs or active[owner] >= ceil(SHARE * self._most_jobs):
            raise JobsFull(
                f"{active.total()} transcriptions wait in the background, {active[owner]} of them "
                f"yours; {self._most_jobs} may (MARLINSCRIBE_BACKGROUND_JOBS), and one client has "
                "three quarters."
            )

    def _check_bytes(self, owner: str, size: int) -> None:
        stored = self._coming.copy()
        for job in self.jobs():
            stored[job.ask.owner] += job.stored_bytes
        for file in self.files():
            stored[file.owner] += file.size
        most = self._most_bytes
        if stored.total() + size > most or stored[owner] + size > SHARE * most:
            raise UploadNotStored(
                f"{stored.total()} bytes are kept in the background, "
                f"{stored[owner]} of them yours; {most} may be (MARLINSCRIBE_BACKGROUND_BYTES), "
                "and one client has three quarters. Delete some.",
                retry_after=60,
            )
