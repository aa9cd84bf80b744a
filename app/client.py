"""A client of the service, for the command line."""

import asyncio
import errno
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

_READ_TIMEOUT = 3600  # seconds: an hour of speech on a small processor takes its time
_HOST = re.compile(r"[\w.:-]+")
_LATER = (408, 429, 503)  # statuses after which another try may help
_MOST_TRIES = 20
_LONGEST_WAIT = 60.0  # seconds between two tries
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  none that one can connect to
_ROUTE = "/v1/audio/transcriptions"
SEGMENT, DELTA, DONE = (f"transcript.text.{one}" for one in ("segment", "delta", "done"))
BROKEN_OFF = "the server broke off its answer"
_WORDS = {
    errno.ENOENT: "there is no such file",
    errno.EISDIR: "that is a folder",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.EACCES: "you may not open or change it",
    errno.EPERM: "you may not do that",
    errno.EROFS: "the disk can only be read",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EADDRINUSE: "it is in use",
}


class Refused(Exception):
    """The server answered with an error. status: of HTTP; None where a stream had begun. param:
    the field that it names. retry_after: seconds, where another try may help. code: the error's."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.retry_after = retry_after
        self.code = code


def own_url() -> str:
    """Return the address of a server that runs here with this environment's settings."""
    host = os.environ.get("MARLINSCRIBE_HOST", "").strip()
    port = os.environ.get("MARLINSCRIBE_PORT", "").strip()
    if host in _EVERY_ADDRESS:
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port if port.isdigit() else 8000}"


def server_url(text: str) -> str:
    """Return the address that somebody means: a scheme may be missing, and /v1 be there. Raises
    ValueError, which says what is wrong with it."""
    whole = text if "://" in text else f"http://{text}"
    try:
        url = httpx.URL(whole.rstrip("/").removesuffix("/v1"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.host):
        raise ValueError(
            f"{text!r} is no server's address: give one such as http://127.0.0.1:8000."
        )
    return str(url).rstrip("/")


def connect(url: str, key: str) -> httpx.Client:
    """Return an HTTP client of the server at `url`. `key` is "" where none is wanted."""
    return httpx.Client(base_url=url, timeout=_timeout(), headers=_headers(key))


def connect_async(url: str, key: str, at_once: int | None) -> httpx.AsyncClient:
    """Return an HTTP client that asks for so many transcripts at once; None bounds nothing."""
    limits = httpx.Limits(max_connections=None if at_once is None else at_once + 1)
    return httpx.AsyncClient(base_url=url, timeout=_timeout(), headers=_headers(key), limits=limits)


def _timeout() -> httpx.Timeout:
    return httpx.Timeout(30, read=_READ_TIMEOUT, write=_READ_TIMEOUT)


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def transcribe(client: httpx.Client, path: Path, fields: Mapping[str, str]) -> httpx.Response:
    """Send one recording; return the server's answer. Raises Refused, OSError, httpx.HTTPError."""
    with path.open("rb") as file:
        answer = client.post(_ROUTE, data=dict(fields), files={"file": (_name(path), file)})
    if answer.is_error:
        raise _refused(answer)
    return answer


async def check(client: httpx.AsyncClient) -> httpx.Response:
    """Check that a server is there and takes the key; return its answer to a question for its
    models. Raises Refused, httpx.HTTPError."""
    answer = await client.get("/v1/models")
    if answer.status_code in (401, 403, 404):
        raise _refused(answer)
    return answer


async def stream(
    client: httpx.AsyncClient,
    path: Path,
    fields: Mapping[str, Any],
    on_seconds: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Send one recording, with its fields for a stream in verbose_json; return its whole
    transcript. `on_seconds` is told how far it has got. Another try is made where the server says
    that it helps. Raises Refused, OSError, httpx.HTTPError."""
    asked = {**fields, "response_format": "verbose_json", "stream": "true"}
    for tries in range(1, _MOST_TRIES + 1):
        try:
            return await _streamed_once(client, path, asked, on_seconds)
        except Refused as error:
            if error.retry_after is None or tries == _MOST_TRIES:
                raise
            await asyncio.sleep(min(error.retry_after, _LONGEST_WAIT))
    raise AssertionError("the last try returns or raises")


async def _streamed_once(
    client: httpx.AsyncClient,
    path: Path,
    asked: Mapping[str, Any],
    on_seconds: Callable[[float], None],
) -> dict[str, Any]:
    async with aclosing(events(client, path, asked)) as told:
        async for event in told:
            if event.get("type") == SEGMENT:
                on_seconds(event["end"])
            elif event.get("type") == DONE:
                return event
    raise Refused(BROKEN_OFF)


async def events(
    client: httpx.AsyncClient, path: Path, fields: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any]]:
    """Send one recording once; yield the events of the stream that answers. An answer in JSON,
    which no stream is, is the last event alone. Raises Refused, OSError, httpx.HTTPError,
    ValueError."""
    with await asyncio.to_thread(path.open, "rb") as file:
        sent = client.stream("POST", _ROUTE, data=fields, files={"file": (_name(path), file)})
        async with sent as answer:
            if answer.is_error:
                await answer.aread()
                raise _refused(answer)
            if "json" in answer.headers.get("content-type", ""):
                yield {**json.loads(await answer.aread()), "type": DONE}
                return
            async for event in _events(answer):
                if "error" in event:
                    raise _broken(event["error"])
                yield event


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    held = b""
    async for piece in answer.aiter_bytes():  # aiter_lines ends lines at U+2028 too
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


def _name(path: Path) -> str:
    """A file's name as UTF-8 can have it: it need not be text."""
    return path.name.encode("utf-8", "replace").decode()


def _refused(answer: httpx.Response) -> Refused:
    try:
        error = answer.json()["error"]
        reason, param, code = str(error["message"]), error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, param, code = answer.text[:200], None, None
    later = answer.headers.get("retry-after", "") if answer.status_code in _LATER else ""
    return Refused(
        f"{answer.status_code}: {reason}",
        answer.status_code,
        param,
        float(later) if later.isdigit() else None,
        code,
    )


def _broken(error: Any) -> Refused:
    """Return the error that a stream ended in."""
    told = error if isinstance(error, dict) else {"message": error}
    return Refused(str(told.get("message", "it failed")), code=told.get("code"))


def explained(error: Exception, url: str = "") -> str:
    """Return in words what went wrong, and what helps, without an error's number. url: the
    server's."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return (
            f"No server answers at {url}: start one with `marlinscribe serve`, or name another "
            "with --url."
        )
    if isinstance(error, httpx.TimeoutException):
        return f"The server at {url} fell silent."
    if isinstance(error, httpx.HTTPError):
        return f"What answers at {url} broke off, or is no Marlinscribe: {error}".rstrip(": ")
    if isinstance(error, OSError) and error.errno is not None:
        words = _WORDS.get(error.errno) or (error.strerror or "it failed").lower()
        return f"{error.filename}: {words}." if error.filename else f"{words.capitalize()}."
    return str(error) or type(error).__name__
