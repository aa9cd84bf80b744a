"""Hashes of the files that a job reads, so that the same files are recognized and a change is
noticed."""

from collections.abc import Mapping
from typing import Any

from app.errors import SourceChanged
from app.recordings.read import digest
from app.recordings.spec import Recordings
from app.sources.source import Source

HASHES = "content_hashes"  # their name in a manifest


def content_hashes(
    source: Source | None, calibration: Recordings | None, proof: Recordings | None = None
) -> dict[str, Any]:
    """Hash a source, its calibration recordings and its proof recordings, each where it is given.

    A model counts by its content, a hub's recordings by their name. Blocking: files that are new
    are read. Raises BadSource, NoCalibration.
    """
    found: dict[str, Any] = {}
    if source:
        found["source"] = source.identity()
    if calibration:
        found["calibration"] = digest(calibration)
    if proof:
        found["proof"] = digest(proof)
    return found


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any], since: str) -> None:
    """Compare two results of content_hashes(). Raises SourceChanged where what is in both differs;
    `since` says when `before` was taken."""
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    if changed:
        names = {"source": "the source", "calibration": "what it is calibrated on",
                 "proof": "what it is judged by"}  # fmt: skip
        what = " and ".join(names[name] for name in sorted(changed))
        raise SourceChanged(
            f"{what[0].upper()}{what[1:]} changed {since}.",
            "Ask again once nothing writes there.",
        )
