"""The cache of made checkpoints: whole or not there.

<cache>/checkpoints/<name>-<fingerprint>/   files, and manifest.json with their hashes
<cache>/checkpoints/.<…>.partial            being made; a crash leaves it, the next start drops it
<cache>/checkpoints/.<…>.damaged            an entry that failed its hashes, kept for a look
<cache>/checkpoints/.<…>.lock               held while one is made, so two starts make one
<cache>/checkpoints/.<…>.used               held while one serves or is proven (in_use.py)
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.checkpoints.cache import checkpoints
from app.checkpoints.content_hashes import HASHES, content_hashes
from app.checkpoints.made_again import tell_why
from app.checkpoints.recipe import Recipe
from app.files import file_sha256
from app.folders import locked, make_whole, mark_used, sibling, slug
from app.sources.source import Source

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
Make = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Entry:
    """An entry is a checkpoint in the cache. `manifest` holds source, recipe, versions, files,
    figures, and the content hashes of source and calibration."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return str(self.manifest["fingerprint"])


def fingerprint(found: Mapping[str, Any], recipe: Recipe, versions: dict[str, str]) -> str:
    """Return 16 hex digits that are the same for the same source, recipe, recordings and quantizer.
    `found` is content_hashes() of source and calibration."""
    steps = recipe.facts()
    if recipe.calibration is not None:
        # The recordings' content, not their place: recordings may be added, and folders moved.
        steps["calibration"] = found["calibration"]
    facts = {"source": found["source"], "recipe": steps, "versions": versions}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """Finds and keeps made checkpoints under `root`, the cache folder, which is created when first
    needed."""

    def __init__(self, root: Path) -> None:
        self._root = root / "checkpoints"

    def get_or_make(
        self,
        source: Source,
        recipe: Recipe,
        versions: dict[str, str],
        make: Make,
        on_wait: Callable[[], None] = lambda: None,
        found: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Return the entry of a source and recipe; `make(folder)` makes it where it is absent.
        Blocking.

        `make` fills the folder and returns figures for the manifest. What it raises is raised, and
        nothing half-made is left under the entry's name. `on_wait` is called when another process
        is making the same entry. `found` is content_hashes() of source and calibration, where that
        is known.
        """
        found = found or content_hashes(source, recipe.calibration)
        name = fingerprint(found, recipe, versions)
        folder = self._folder(slug(source.name), name)
        with locked(folder, on_wait):
            entry = self._read(folder)
            if entry is not None:
                return entry
            facts = {
                "fingerprint": name,
                "source": {"name": source.name, "revision": source.revision},
                "recipe": recipe.model_dump(mode="json"),
                "versions": versions,
                HASHES: {kind: found[kind] for kind in ("source", "calibration") if kind in found},
            }
            tell_why(checkpoints(self._root.parent), source.name, facts)
            return self._make(folder, facts, make)

    def _folder(self, name: str, fingerprint: str) -> Path:
        """Where an entry is, perhaps under another name of the same source, or is to be."""
        own = self._root / f"{name}-{fingerprint}"
        others = sorted(self._root.glob(f"*-{fingerprint}"))
        return own if own in others else next(iter(others), own)

    def has(self, fingerprint: str) -> bool:
        """Whether there is an entry with this fingerprint, whole or damaged."""
        return any(self._root.glob(f"*-{fingerprint}"))

    def find(self, fingerprint: str) -> Entry | None:
        """Return the entry with this fingerprint, if there is one and it is whole. Blocking: its
        files are hashed."""
        folder = next(self._root.glob(f"*-{fingerprint}"), None)
        return self._read(folder) if folder else None

    def _read(self, folder: Path) -> Entry | None:
        """Return a folder's entry if it is whole; a damaged one is set aside."""
        if not folder.exists():
            return None
        fault = _fault(folder)
        if fault is None:
            mark_used(folder)
            return Entry(folder, json.loads((folder / MANIFEST).read_text("utf-8")))
        aside = sibling(folder, "damaged")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        log.warning("%s is damaged (%s): set aside as %s, making it again", folder, fault, aside)
        return None

    def _make(self, folder: Path, facts: dict[str, Any], make: Make) -> Entry:
        def fill(work: Path) -> dict[str, Any]:
            figures = make(work)
            files = {
                p.name: {"sha256": file_sha256(p), "bytes": p.stat().st_size}
                for p in sorted(work.iterdir())
                if p.name != MANIFEST  # which a source may have too
            }
            manifest = {**facts, "made_at": int(time.time()), "figures": figures, "files": files}
            (work / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
            return manifest

        return Entry(folder, make_whole(folder, fill))


def _fault(folder: Path) -> str | None:
    """Return what is wrong with an entry, or None."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        expected = {
            folder / name: (facts["bytes"], facts["sha256"]) for name, facts in files.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"no readable manifest: {error}"
    if not expected:
        return "the manifest names no files"
    for path, (size, sha256) in expected.items():
        if not path.is_file():
            return f"{path.name} is missing"
        if path.stat().st_size != size or file_sha256(path) != sha256:
            return f"{path.name} does not match its hash"
    return None
