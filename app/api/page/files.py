"""The page's files, each read and compressed once."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"

# By suffix, and not by the machine's own table, which says what somebody installed.
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain",
    ".md": "text/plain",
}
_PACKED_ALREADY = {".png"}


@dataclass(frozen=True)
class File:
    """A file as it is sent. packed: its content by gzip, where that is shorter. tag: its ETag."""

    content: bytes
    packed: bytes | None
    kind: str
    tag: str


@cache
def static_files() -> dict[str, File]:
    """Return every file by its path below `static`, with slashes. Reads the disk the first time."""
    paths = (path for path in STATIC.rglob("*") if path.suffix in _KINDS)
    return {path.relative_to(STATIC).as_posix(): _file(path) for path in paths}


def _file(path: Path) -> File:
    content = path.read_bytes()
    packed = None if path.suffix in _PACKED_ALREADY else gzip.compress(content, mtime=0)
    return File(
        content=content,
        packed=packed,
        kind=_KINDS[path.suffix],
        tag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',  # weak: packed or not, it is one
    )
