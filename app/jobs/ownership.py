"""Which process has a folder of jobs: two would run each other's."""

from pathlib import Path

from filelock import FileLock, Timeout

from app.errors import JobsElsewhere, RecordNotKept


class Ownership:
    """A lock beside a folder of jobs, .<folder>.lock. The kernel frees the lock of a process that
    dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"), thread_local=False)

    def take(self) -> None:
        """Lock the folder. Raises JobsElsewhere, RecordNotKept."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise JobsElsewhere(
                f"Another server does the jobs of {self._folder.parent}: ask that one, or give "
                "this one a MARLINSCRIBE_CACHE_DIR of its own.",
                retry_after=60,
            ) from error
        except OSError as error:
            raise RecordNotKept(f"Jobs cannot be recorded: {error}.") from error

    def release(self) -> None:
        """Free the folder for another process."""
        self._lock.release(force=True)
