"""A cache of results that took long to find, each under a key of all that decided the result."""

import hashlib
import json
from pathlib import Path
from typing import Any

from app.files import write_json
from app.folders import mark_used


class ResultCache:
    """Keeps results as <folder>/<key>.json. A file that cannot be read counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(**facts: Any) -> str:
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def get(self, key: str) -> Any | None:
        try:
            found = json.loads(self._path(key).read_text("utf-8"))
            mark_used(self._path(key))
            return found
        except (OSError, ValueError):
            return None

    def put(self, key: str, value: Any) -> None:
        """Keep a result. Raises OSError."""
        write_json(self._path(key), value)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
