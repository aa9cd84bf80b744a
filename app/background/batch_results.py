"""What became of a batch's lines, as OpenAI writes it."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from app.background.batch_lines import custom_id_of

Entry = dict[str, Any]

EXPIRED = "batch_expired"  # OpenAI's code


def succeeded(custom_id: str | None, body: Any) -> Entry:
    """Return the line of the output that tells a result."""
    request_id = _request_id()
    response = {"status_code": 200, "request_id": request_id, "body": body}
    return {"id": request_id, "custom_id": custom_id, "response": response, "error": None}


def failed(custom_id: str | None, error: Mapping[str, str | None], status: int) -> Entry:
    """Return the line of the error file that tells why there is no result."""
    request_id = _request_id()
    body = {"error": dict(error)}
    response = {"status_code": status, "request_id": request_id, "body": body}
    told = {"code": error.get("code"), "message": error.get("message")}
    return {"id": request_id, "custom_id": custom_id, "response": response, "error": told}


def expired(custom_id: str | None) -> Entry:
    """Return the line of the error file that tells that a request was not done in time."""
    message = "This request could not be executed before the completion window expired."
    told = {"code": EXPIRED, "message": message}
    return {"id": _request_id(), "custom_id": custom_id, "response": None, "error": told}


def _request_id() -> str:
    return f"batch_req_{secrets.token_hex(16)}"


class Results:
    """What became of each line, a line of JSON each, synced to the disk as it is added. Every
    method blocks, and raises OSError. known: whether a line succeeded, by its number from 0.
    has_expired: whether one was not done in time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[int, bool] = {}
        self.has_expired = False

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines succeeded, and how many failed."""
        good = sum(self.known.values())
        return good, len(self.known) - good

    def read(self) -> None:
        """Read what is there, and drop half a line at the end, behind a kill."""
        self._path.touch()
        whole = self._path.read_bytes()
        os.truncate(self._path, whole.rfind(b"\n") + 1)
        for line in whole.split(b"\n")[:-1]:
            told = json.loads(line)
            self._note(told["line"], told["entry"])

    def add(self, entries: Iterable[tuple[int, Entry]]) -> None:
        """Add what became of lines, each by its number."""
        with self._path.open("ab") as file:
            for number, entry in entries:
                file.write(_json({"line": number, "entry": entry}))
                self._note(number, entry)
            file.flush()
            os.fsync(file.fileno())

    def _note(self, number: int, entry: Entry) -> None:
        error = entry["error"]
        self.known[number] = error is None
        self.has_expired = self.has_expired or (error or {}).get("code") == EXPIRED

    def expire(self, lines: Iterable[bytes]) -> None:
        """Say of each of the input's lines that has no result that it was not done in time."""
        done = frozenset(self.known)
        left = ((number, line) for number, line in enumerate(lines) if number not in done)
        self.add((number, expired(custom_id_of(line))) for number, line in left)

    def entries(self, *, is_good: bool) -> Iterator[bytes]:
        """Yield the lines of the output, or those of the error file."""
        with self._path.open("rb") as file:
            for line in file:
                entry = json.loads(line)["entry"]
                if (entry["error"] is None) is is_good:
                    yield _json(entry)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
