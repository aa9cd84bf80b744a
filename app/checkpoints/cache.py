"""What the cache holds of checkpoints and converted sources, read without hashing it, and how that
is deleted.

The layouts are store.py's and app/sources/convert.py's.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from app.checkpoints.content_hashes import HASHES
from app.checkpoints.in_use import unused
from app.checkpoints.recipe import Recipe
from app.sources.convert import ORIGIN, root

_SMALL_FILES = ("jobs", "proofs", "reports", "sources/identities", "costs", "sensitivities")
_BEING_WRITTEN = 3600  # seconds: a small file is written in milliseconds, and then has its name


@dataclass(frozen=True)
class CachedCheckpoint:
    """An entry as its manifest has it; name: of its source. recipe is None where the manifest is
    damaged or another version's, and manifest then what can be read of it. Times are Unix seconds;
    size is in bytes."""

    folder: Path
    name: str
    fingerprint: str
    scheme: str
    recipe: Recipe | None
    manifest: Mapping[str, Any]
    size: int
    made_at: int
    used_at: int
    in_use: bool

    @property
    def identity(self) -> dict[str, str] | None:
        """Of its source; None where an earlier version made it."""
        hashes = self.manifest.get(HASHES)
        found = hashes.get("source") if isinstance(hashes, dict) else None
        return found if isinstance(found, dict) else None


def checkpoints(cache: Path) -> list[CachedCheckpoint]:
    """Every whole entry, the last used first."""
    found = [_entry(one) for one in _folders(cache / "checkpoints")]
    return sorted(found, key=lambda one: (-one.used_at, one.folder.name))


def _entry(folder: Path) -> CachedCheckpoint:
    manifest = _json(folder / "manifest.json")
    used_at = int(folder.stat().st_mtime)
    recipe = None
    with suppress(ValidationError):
        recipe = Recipe.model_validate(manifest.get("recipe"))
    name, _, mark = folder.name.rpartition("-")
    source = manifest.get("source")
    made_at = manifest.get("made_at")
    return CachedCheckpoint(
        folder=folder,
        name=str(source["name"]) if isinstance(source, dict) and "name" in source else name,
        fingerprint=mark,
        scheme=recipe.label if recipe else "unknown",
        recipe=recipe,
        manifest=manifest,
        size=size_of(folder),
        made_at=made_at if isinstance(made_at, int) else used_at,
        used_at=used_at,
        in_use=_is_used(folder),
    )


@dataclass(frozen=True)
class CachedSource:
    """A source that was converted; origin: what it was made of, in words. used_at is in Unix
    seconds, size in bytes."""

    folder: Path
    name: str
    origin: str
    size: int
    used_at: int
    in_use: bool


def sources(cache: Path) -> list[CachedSource]:
    """Every whole one, the last used first."""
    found = [_source(one) for one in _folders(root(cache)) if one.name != "identities"]
    return sorted(found, key=lambda one: (-one.used_at, one.folder.name))


def _source(folder: Path) -> CachedSource:
    said = _json(folder / ORIGIN)
    return CachedSource(
        folder=folder,
        name=str(said.get("name", folder.name.rpartition("-")[0])),
        origin=str(said.get("origin", "unknown")),
        size=size_of(folder),
        used_at=int(folder.stat().st_mtime),
        in_use=_is_used(folder),
    )


def _folders(parent: Path) -> list[Path]:
    """The entries that lie in a folder."""
    folders = parent.iterdir() if parent.is_dir() else ()
    return [one for one in folders if one.is_dir() and not one.name.startswith(".")]


def _is_used(folder: Path) -> bool:
    with unused(folder) as free:
        return not free


def _json(path: Path) -> dict[str, Any]:
    """Empty where it cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.lstat().st_size for one in files if one.is_file() or one.is_symlink())


def leftovers(cache: Path) -> list[Path]:
    """What a process that was killed left half-made, and entries that were set aside as damaged.
    What somebody makes at this moment is not among it."""
    roots = cache / "checkpoints", root(cache)
    half = (one for kind in roots for one in kind.glob(".*.partial"))
    found = [one for one in half if not _is_being_made(one)]
    found += roots[0].glob(".*.damaged")
    old = time.time() - _BEING_WRITTEN
    for folder in (cache, *(cache / name for name in _SMALL_FILES)):
        files = folder.glob(".*.json.*.partial")
        found += [one for one in files if one.stat().st_mtime < old]
    return sorted(found)


def _is_being_made(partial: Path) -> bool:
    with _free(_folder_of(partial)) as free:
        return not free


def drop_half_made(cache: Path) -> list[Path]:
    """Delete what a process that was killed left half-made; what that was. Raises OSError."""
    gone = [one for one in leftovers(cache) if one.suffix == ".partial"]
    for one in gone:
        drop_leftover(one)
    return gone


def drop_leftover(path: Path) -> None:
    """Delete one of `leftovers`, unless somebody has begun to make it anew. Raises OSError."""
    if path.is_dir():
        with _free(_folder_of(path)) as free:
            if free:
                shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def drop_entry(folder: Path) -> bool:
    """Delete an entry whole, so that a crash leaves none in half; whether it was nobody's at that
    moment. Raises OSError."""
    # Its own name: where the same entry is made anew, that is another's.
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    with _free(folder) as free, unused(folder) as idle:
        if not (free and idle):
            return False
        folder.rename(aside)
        folder.with_name(f".{folder.name}.used").unlink(missing_ok=True)
    shutil.rmtree(aside)
    return True


def _folder_of(sibling: Path) -> Path:
    """The entry's own: of .<name>.partial and .<name>.damaged."""
    return sibling.with_name(sibling.stem.removeprefix("."))


@contextmanager
def _free(folder: Path) -> Iterator[bool]:
    """Whether nobody makes an entry; if so, nobody begins to meanwhile. The lock is store.py's."""
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path)
    if not path.exists():
        yield True
        return
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
