"""Files that clients upload for batches, and that batches write: a folder each, whole or not there.

<id>/file.json   the record
<id>/content     the bytes
"""

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter

from app.background.bounds import Bounds
from app.errors import UnknownFile, UploadNotStored
from app.folders import make_whole, sibling
from app.process import run_shielded

log = logging.getLogger(__name__)

_RECORD, _CONTENT = "file.json", "content"


@dataclass(frozen=True)
class StoredFile:
    """A file's record. created_at: Unix seconds. purpose: OpenAI's word for what it is for."""

    id: str
    owner: str
    filename: str
    purpose: str
    size: int
    created_at: int = field(default_factory=lambda: int(time.time()))


_FILE = TypeAdapter(StoredFile)


class Files:
    """Keeps files, within the bounds of what may be kept in the background. For the event loop's
    thread."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._bounds = bounds
        self._files: dict[str, StoredFile] = {}
        bounds.files = self._files.values

    def load(self) -> None:
        """Read the files there are. Blocking."""
        self._files |= {file.id: file for file in _load(self._folder)}

    def path(self, file: StoredFile) -> Path:
        """Where a file's bytes are."""
        return self._folder / file.id / _CONTENT

    def get(self, owner: str, file_id: str, param: str = "id") -> StoredFile:
        """Return one of an owner's files. Raises UnknownFile, of another's as of none."""
        file = self._files.get(file_id)
        if file is None or file.owner != owner:
            raise UnknownFile(f"There is no file {file_id!r}.", param=param)
        return file

    def all(self, owner: str) -> list[StoredFile]:
        """Return an owner's files, the newest first."""
        return [file for file in reversed(self._files.values()) if file.owner == owner]

    async def keep(
        self, owner: str, filename: str, purpose: str, size: int, copy: Callable[[BinaryIO], None]
    ) -> StoredFile:
        """Keep a file whose bytes `copy` writes, in a thread. Raises UploadNotStored."""
        # In order of time, so that a listing of the folder is.
        name = f"file-{time.time_ns():016x}{secrets.token_hex(8)}"
        file = StoredFile(name, owner, filename, purpose, size)
        with self._bounds.coming(owner, size):
            try:
                await asyncio.to_thread(_create, self._folder, file, copy)
            except OSError as error:
                raise UploadNotStored(f"The file cannot be kept: {error.strerror}.") from error
        self._files[file.id] = file
        return file

    async def delete(self, file: StoredFile) -> None:
        """Delete a file, where it is still there."""
        if self._files.pop(file.id, None):
            await run_shielded(_delete, self._folder / file.id)

    async def prune(self, before: float) -> None:
        """Delete what was kept before so many Unix seconds."""
        for file in list(self._files.values()):
            if file.created_at < before:
                await self.delete(file)


def _create(folder: Path, file: StoredFile, copy: Callable[[BinaryIO], None]) -> None:
    def fill(work: Path) -> None:
        with (work / _CONTENT).open("wb") as content:
            copy(content)
        (work / _RECORD).write_bytes(_FILE.dump_json(file))

    make_whole(folder / file.id, fill)


def _delete(path: Path) -> None:
    gone = sibling(path, "partial")
    try:
        os.rename(path, gone)
    except OSError as error:  # the next start finds it again
        log.error("%s cannot be deleted: %s", path, error)
    shutil.rmtree(gone, ignore_errors=True)


def _load(folder: Path) -> Iterator[StoredFile]:
    """Yield every file, the oldest first; drop what is half-made or half-deleted."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            yield _FILE.validate_json((path / _RECORD).read_bytes())
        except (OSError, ValueError) as error:
            log.warning("the file in %s cannot be read: %s", path, error)
