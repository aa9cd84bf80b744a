"""A client of the service, for the command line."""

from collections.abc import Mapping
from pathlib import Path

import httpx

_READ_TIMEOUT = 3600  # seconds: an hour of speech on a small processor takes its time


class Refused(Exception):
    """The server answered with an error."""


def connect(url: str, key: str) -> httpx.Client:
    """Return an HTTP client of the server at `url`. `key` is "" where none is wanted."""
    return httpx.Client(
        base_url=url,
        timeout=httpx.Timeout(30, read=_READ_TIMEOUT, write=_READ_TIMEOUT),
        headers={"authorization": f"Bearer {key}"} if key else {},
    )


def transcribe(client: httpx.Client, path: Path, fields: Mapping[str, str]) -> httpx.Response:
    """Send one recording; return the server's answer. Raises Refused, OSError, httpx.HTTPError."""
    with path.open("rb") as file:
        answer = client.post(
            "/v1/audio/transcriptions", data=dict(fields), files={"file": (path.name, file)}
        )
    if answer.is_error:
        try:
            reason = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            reason = answer.text[:200]
        raise Refused(f"{answer.status_code}: {reason}")
    return answer
