"""Which entries of the cache a process serves, reads or proves, for those that delete them.

A shared lock on .<entry>.used beside the entry, which the kernel frees with the process. Entries
are made checkpoints and converted sources.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from app.folders import sibling


class CheckpointInUse:
    """Holds the one checkpoint that a slot serves; another takes its place as a whole."""

    def __init__(self) -> None:
        self._held: ExitStack | None = None

    def take(self, folder: Path) -> None:
        """Hold this one, and then no other."""
        held = ExitStack()
        held.enter_context(in_use(folder))
        self.release()
        self._held = held

    def release(self) -> None:
        """Hold none any more."""
        if self._held:
            self._held.close()
            self._held = None


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Nobody deletes an entry meanwhile. A folder that is no entry of a cache, and a disk that
    takes no locks, are let be."""
    lock = None
    if _is_entry(folder):  # no stray file beside a model of somebody's own
        with suppress(OSError):
            lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether nobody uses an entry; if so, nobody begins to meanwhile."""
    try:
        lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # nobody ever did
        yield True
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(lock)


def _is_entry(folder: Path) -> bool:
    """Whether a folder was made in a cache: a checkpoint has a manifest, and a converted
    source the lock that it was made under."""
    return (folder / "manifest.json").is_file() or sibling(folder, "lock").exists()


def _lock_of(folder: Path) -> Path:
    return sibling(folder, "used")
