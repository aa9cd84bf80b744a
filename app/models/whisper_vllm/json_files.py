"""The JSON files of a checkpoint's folder."""

import json
from pathlib import Path
from typing import Any

from app.errors import BadSource


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Return what a file holds; nothing where there is none. Raises BadSource, with the advice,
    where it cannot be read."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadSource(f"{path} cannot be read: {error}.", advice) from error
    return content
