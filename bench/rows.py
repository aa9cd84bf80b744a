"""The demo's test recordings with their words, one row of the manifest each."""

import json
from typing import Any

from harness.server import DEMO

RECORDINGS = DEMO / "recordings" / "test"
Row = dict[str, Any]


def rows(many: int | None = None) -> list[Row]:
    """All of them or the first so many; the first two are of two languages."""
    lines = (RECORDINGS / "manifest.jsonl").read_text("utf-8").splitlines()
    first, *others = map(json.loads, lines)
    foreign = next(row for row in others if row["language"] != first["language"])
    return [first, foreign, *(row for row in others if row is not foreign)][:many]
