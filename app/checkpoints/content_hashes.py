"""What a job reads, as hashes: so that the same is known for the same, and a change is noticed."""

from collections.abc import Mapping
from typing import Any

from app.checkpoints.source import Source
from app.errors import SourceChanged
from app.recordings.read import digest
from app.recordings.spec import Recordings


def content_hashes(
    source: Source | None, calibration: Recordings | None, proof: Recordings | None = None
) -> dict[str, Any]:
    """Of the source, where it is here; of what is calibrated on and of what is judged by, where
    there is any. A hub's count by their names. Blocking: all of it is read. Raises
    NoCalibration."""
    found: dict[str, Any] = {}
    if source:
        found["source"] = source.identity()
    if calibration:
        found["calibration"] = digest(calibration)
    if proof:
        found["proof"] = digest(proof)
    return found


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any], since: str) -> None:
    """Raises SourceChanged where what is in both differs. `since` says when `before` was."""
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    if changed:
        names = {"source": "the source", "calibration": "what it is calibrated on",
                 "proof": "what it is judged by"}  # fmt: skip
        what = " and ".join(names[name] for name in sorted(changed))
        raise SourceChanged(
            f"{what[0].upper()}{what[1:]} changed {since}.",
            "Ask again once nothing writes there.",
        )
