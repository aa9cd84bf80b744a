"""The lines of a batch's input, each of which asks for one recording."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.background.batch import ENDPOINT
from app.errors import BadBody, BadField
from app.json_text import read_json_text

MOST_LINES = 50_000  # OpenAI's bound
LONGEST_LINE = 2**26  # bytes: a recording in a data URL of 48 MB


@dataclass(frozen=True)
class Line:
    """One line's request. custom_id: what its sender knows it by; None where it has none."""

    custom_id: str | None
    body: dict[str, Any]


def lines_of(path: Path) -> Generator[bytes]:
    """Yield the lines that are not blank; of one that is too long, no more than shows that.
    Blocking. Raises OSError."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            rest = line
            while not rest.endswith(b"\n") and (rest := file.readline(LONGEST_LINE)):
                pass  # the rest of one that is too long
            if line.strip():
                yield line


def custom_id_of(line: bytes) -> str | None:
    """Return what a line is known by, where that can be read."""
    try:
        found = read_json_text(line)["custom_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def read_line(line: bytes) -> Line:
    """Read a line of the input. Raises BadBody, BadField."""
    if len(line) > LONGEST_LINE:
        raise BadBody(f"The line has more than {LONGEST_LINE} bytes.")
    try:
        asked = read_json_text(line)
    except ValueError as error:
        raise BadBody("The line is not JSON.") from error
    if not isinstance(asked, dict):
        raise BadBody("The line is not an object.")
    if not isinstance(asked.get("custom_id"), str) or not asked["custom_id"]:
        raise BadField("'custom_id' must be a text.", param="custom_id")
    if asked.get("method", "POST") != "POST":
        raise BadField("'method' must be POST.", param="method")
    if asked.get("url") != ENDPOINT:
        raise BadField(f"'url' must be {ENDPOINT}.", param="url")
    if not isinstance(asked.get("body"), dict):
        raise BadField("'body' must be an object.", param="body")
    return Line(asked["custom_id"], asked["body"])
