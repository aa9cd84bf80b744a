"""Why a checkpoint is made although the cache holds one of the same source."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from app.checkpoints.cache import CachedCheckpoint
from app.checkpoints.content_hashes import HASHES

log = logging.getLogger(__name__)

_SHORT = 60  # characters: hashes and recordings are longer


def tell_why(entries: Iterable[CachedCheckpoint], name: str, facts: Mapping[str, Any]) -> None:
    """Log a line where `entries` holds checkpoints of a source of this name, though not the one
    that is to be made; `facts` are of that one's manifest."""
    others = [one for one in entries if one.name == name]
    if not others:
        return
    nearest = min(others, key=lambda one: len(_differences(one.manifest, facts)))
    same_recipe = nearest.manifest.get("recipe") == facts["recipe"]
    log.log(
        logging.WARNING if same_recipe else logging.INFO,
        "the cache holds %s as %s of %s, but %s: %s. "
        "`marlinscribe cache prune` deletes what nobody needs any more",
        name,
        nearest.scheme,
        time.strftime("%Y-%m-%d", time.localtime(nearest.made_at)),
        " and ".join(_differences(nearest.manifest, facts)) or "its files are not the same",
        "it is made again" if same_recipe else "another one is made",
    )


def _differences(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """What differs between a checkpoint and the one that is to be made, in words."""
    found = []
    if parts := _changed(manifest.get("recipe"), facts["recipe"]):
        found.append(f"its recipe has another {_listed(parts)}")
    if parts := _changed(manifest.get("versions"), facts["versions"]):
        found.append(f"it was made with another {_listed(parts)}")
    if not isinstance(manifest.get(HASHES), Mapping):
        return [*found, "an earlier version made it, which knew its source by other marks"]
    before, now = manifest[HASHES], facts[HASHES]
    if parts := _changed(before.get("source"), now["source"]):
        found.append(f"its source had other {_listed(parts)}")
    if before.get("calibration") != now.get("calibration"):
        found.append("the recordings that it learned from were others")
    return found


def _listed(parts: Mapping[str, tuple[Any, Any]]) -> str:
    """What changed, with what it was and is where that is short."""
    return " and ".join(
        f"{name} ({before}, now {now})" if len(f"{before}{now}") < _SHORT else name
        for name, (before, now) in parts.items()
    )


def _changed(before: Any, now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not as it was, by name: what it was, and what it is."""
    known = before if isinstance(before, Mapping) else {}
    names = dict.fromkeys((*known, *now))
    return {
        name: (known.get(name), now.get(name)) for name in names if known.get(name) != now.get(name)
    }
