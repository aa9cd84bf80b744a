"""What became of a batch's lines, as OpenAI writes it."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


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


def _request_id() -> str:
    return f"batch_req_{secrets.token_hex(16)}"


class Results:
    """What became of each line, a line of JSON each, synced to the disk as it is added. Every
    method blocks, and raises OSError. known: whether a line succeeded, by its number from 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[int, bool] = {}

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
            self.known[told["line"]] = told["entry"]["error"] is None

    def add(self, number: int, entry: Entry) -> None:
        """Add what became of a line."""
        with self._path.open("ab") as file:
            file.write(_json({"line": number, "entry": entry}))
            file.flush()
            os.fsync(file.fileno())
        self.known[number] = entry["error"] is None

    def entries(self, *, is_good: bool) -> Iterator[bytes]:
        """Yield the lines of the output, or those of the error file."""
        with self._path.open("rb") as file:
            for line in file:
                entry = json.loads(line)["entry"]
                if (entry["error"] is None) is is_good:
                    yield _json(entry)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
