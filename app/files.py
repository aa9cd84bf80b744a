"""Hashes of files, and writing of small files that are either whole or not there."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(path: Path) -> tuple[str, int, int]:
    """Return what changes when a file does: its real path, size and time. Raises OSError."""
    state = path.stat()
    return str(path.resolve()), state.st_size, state.st_mtime_ns


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a value as JSON, as `write_whole` does. Raises OSError."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a new one as a whole, synced to the disk. Folders are created. Raises
    OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path | None) -> None:
    """Check that a result can be written to a path later; nothing is left behind. Raises
    ValueError."""
    if path is None:
        return
    new = not path.exists()
    try:
        path.open("a").close()
        if new:
            path.unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}.") from error
