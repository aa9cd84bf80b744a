"""Reading of a recording and the fields beside it, from a multipart form or from JSON: bounded in
bytes, on disk where it is large, and only once the client's key is checked and the service can
answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from app.api.json_upload import read_json
from app.api.parsing import parse, parse_json
from app.api.spool import SpoolingParser, spooled_file
from app.audio.recording import RecordingFile
from app.errors import BadBody, BadField, UploadNotStored, UploadStalled, UploadTooLarge
from app.outbound.fetching import Fetching
from app.settings import Settings

if TYPE_CHECKING:
    from app.admission.uploads import Receiving

_MOST_FIELDS = 250
_MOST_FILES = 8  # one is used; others are fields nobody knows
_LARGEST_FIELD = 2**17  # bytes
_LOOK = 1.0  # seconds, between two looks at an upload that brings nothing
_URL = "file_url"
_MISSING = "missing_required_parameter"  # OpenAI's code

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class UploadFormat:
    """Where in a body the recording is. field: the form's that it is in. head: what goes before its
    bytes, where they have no header of their own. takes_json: whether the body may be JSON.
    takes_url: whether a form may name an address instead."""

    field: str = "file"
    head: bytes = b""
    takes_json: bool = False
    takes_url: bool = False


@dataclass(frozen=True)
class Upload:
    """What was sent: a form's text fields, in the order they came, or JSON's values by name; the
    recording, and the name that the client has for it."""

    fields: list[tuple[str, str]] | dict[str, Any]
    recording: RecordingFile
    filename: str = ""

    def form(self, kind: type[M]) -> M:
        """The fields, checked. Raises BadField."""
        if isinstance(self.fields, dict):
            return parse_json(kind, self.fields)
        return parse(kind, self.fields)


@asynccontextmanager
async def read_upload(
    request: Request, settings: Settings, receiving: "Receiving", shape: UploadFormat
) -> AsyncGenerator[Upload]:
    """What the request's body holds; its file lives as long as the context.

    Raises BadBody, BadField, UploadTooLarge, UploadStalled, UploadNotStored, or starlette's
    ClientDisconnect.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    chunks = _bounded(request, settings, receiving)
    async with AsyncExitStack() as held:
        try:
            if kind == "multipart/form-data":
                form = await _form(request, chunks, shape)
                held.push_async_callback(form.close)
                receiving.complete = True
                upload = await _of_form(form, shape, settings, receiving, held)
            elif kind == "application/json" and shape.takes_json:
                fields, file = await read_json(chunks, held)
                upload = Upload(fields, RecordingFile(file))
            else:
                raise BadField(
                    f"The body must be multipart/form-data, with the recording in {shape.field!r}.",
                    param=shape.field,
                    code=_MISSING,
                )
        except OSError as error:  # while a large part is written to disk
            raise UploadNotStored(f"The upload cannot be stored: {error.strerror}.") from error
        receiving.complete = True
        yield upload


async def _form(request: Request, chunks: AsyncGenerator[bytes], shape: UploadFormat) -> FormData:
    parser = SpoolingParser(
        request.headers,
        chunks,
        max_files=_MOST_FILES,
        max_fields=_MOST_FIELDS,
        max_part_size=_LARGEST_FIELD,
    )
    parser.recording, parser.head = shape.field, shape.head
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise BadBody(f"The form cannot be read: {error.message}") from error
    except UnicodeError as error:  # a charset that decodes nothing
        raise BadBody("The form cannot be read: its text is not in its charset.") from error


async def _of_form(
    form: FormData,
    shape: UploadFormat,
    settings: Settings,
    receiving: "Receiving",
    held: AsyncExitStack,
) -> Upload:
    """What a form holds, or names."""
    _check_text(form)
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    sent = form.getlist(shape.field)
    url = dict(texts).get(_URL, "") if shape.takes_url else ""
    if url and not sent:
        file, name = await held.enter_async_context(_fetched(url, settings, receiving))
        return Upload(texts, RecordingFile(file), name)
    one = _recording(sent, shape.field, url)
    return Upload(texts, RecordingFile(one.file), one.filename or "")


def _check_text(form: FormData) -> None:
    """Raises BadBody where a text could be neither kept nor answered: some charsets (UTF-7) have
    half a surrogate pair, which UTF-8 has not."""
    for name, value in form.multi_items():
        text = value if isinstance(value, str) else value.filename or ""
        try:
            f"{name}{text}".encode()
        except UnicodeError as error:
            message = "The form cannot be read: it holds half a surrogate pair."
            raise BadBody(message) from error


@asynccontextmanager
async def _fetched(
    url: str, settings: Settings, receiving: "Receiving"
) -> AsyncGenerator[tuple[BinaryIO, str]]:
    """What is at an address, and its last name. Raises BadField, UploadTooLarge,
    UploadNotStored."""
    fetching = Fetching.of(settings, _URL)
    with spooled_file() as file:
        sink = cast("BinaryIO", file)
        try:
            name = await fetching.fetch(url, sink, _URL, receiving.add)
        except OSError as error:
            raise UploadNotStored(f"The recording cannot be stored: {error.strerror}.") from error
        yield sink, name


def _recording(sent: list[UploadFile | str], field: str, url: str) -> UploadFile:
    if url:
        raise BadField(f"{field!r} and {_URL!r} exclude each other.", param=_URL)
    if not sent:
        raise BadField(f"The field {field!r} is required.", param=field, code=_MISSING)
    if len(sent) > 1:
        raise BadField(f"One recording a request: {field!r} was sent more than once.", param=field)
    if isinstance(sent[0], str):
        raise BadField(f"The field {field!r} must be an uploaded file, not text.", param=field)
    return sent[0]


async def _bounded(
    request: Request, settings: Settings, receiving: "Receiving"
) -> AsyncGenerator[bytes]:
    """The body, refused at the first byte over the bound, or by its announced length at once; and
    when nothing has come for so long, for its sender may be gone without a word, or too little."""
    most, idle_seconds = settings.max_upload_bytes, settings.upload_idle_seconds
    message = f"The request is larger than {most} bytes, the limit of this server."
    announced = request.headers.get("content-length", "")
    if announced.isdigit():
        if int(announced) > most:
            raise UploadTooLarge(message, param="file")
        receiving.expect(int(announced))
    chunks = request.stream()
    while (chunk := await _next(chunks, receiving, idle_seconds)) is not None:
        if receiving.received + len(chunk) > most:
            raise UploadTooLarge(message, param="file")
        receiving.add(len(chunk))
        yield chunk


async def _next(
    chunks: AsyncGenerator[bytes], receiving: "Receiving", idle_seconds: float
) -> bytes | None:
    """The next piece; None at the end. Raises UploadStalled."""
    receiving.check_rate(idle_seconds)
    following = asyncio.ensure_future(anext(chunks, None))
    waits_until = receiving.seconds + idle_seconds
    try:
        while True:
            left = min(_LOOK, waits_until - receiving.seconds)
            done, _ = await asyncio.wait({following}, timeout=max(0.0, left))
            if done:
                return following.result()
            receiving.check_rate(idle_seconds)
            if receiving.seconds >= waits_until:
                raise UploadStalled(f"Nothing came for {idle_seconds:g} s.")
    finally:
        following.cancel()
