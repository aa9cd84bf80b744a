"""Folders that are either whole or not there, made by one process at a time.

<folder>                 whole
.<folder>.partial        being made; a crash leaves it, the next attempt drops it
.<folder>.lock           held while it is made
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from app.errors import CacheUnusable, DiskFull

_T = TypeVar("_T")


def make_whole(folder: Path, fill: Callable[[Path], _T]) -> _T:
    """Make a folder, synced to the disk, by `fill(work)`; return what that returns. What it raises
    is raised, and nothing half-made is left. Raises OSError."""
    work = sibling(folder, "partial")
    shutil.rmtree(work, ignore_errors=True)  # an attempt that crashed left it
    work.mkdir(parents=True)
    try:
        result = fill(work)
        for path in (*work.iterdir(), work):
            _sync(path)
        work.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


@contextmanager
def locked(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let one process make a folder; `on_wait` is called where another does. The kernel frees the
    lock of a process that died."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(sibling(folder, "lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def cache_faults(cache: Path) -> Iterator[None]:
    """Translate what the disk refuses into DiskFull and CacheUnusable."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else CacheUnusable)(
            f"The cache in {cache} cannot be used: {error}.",
            "Set MARLINSCRIBE_CACHE_DIR to a folder that can be written and has space.",
        ) from error


def mark_used(path: Path) -> None:
    """Note that a file or folder is wanted now; where that cannot be written down, it seems older
    than it is."""
    with suppress(OSError):
        os.utime(path)


def sibling(folder: Path, kind: str) -> Path:
    """Return the hidden path beside a folder that has to do with it."""
    return folder.with_name(f".{folder.name}.{kind}")


def slug(name: str) -> str:
    """Return a name as a part of a path."""
    return re.sub(r"[^\w.-]+", "--", name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
