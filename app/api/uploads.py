"""Reading of a multipart form: bounded in bytes, on disk where it is large, and only once the
client's key is checked and the service can answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from app.api.spool import SpoolingParser, spool_folder
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
_SPOOLED = 2**20  # bytes, from which what is fetched waits on the disk
_URL = "file_url"
_MISSING = "missing_required_parameter"  # OpenAI's code


@dataclass(frozen=True)
class Upload:
    """A form's text fields, in the order they came, and its recording, with the name that the
    client has for it."""

    fields: list[tuple[str, str]]
    recording: RecordingFile
    filename: str


@asynccontextmanager
async def read_upload(
    request: Request, settings: Settings, receiving: "Receiving"
) -> AsyncGenerator[Upload]:
    """The form in the request's body; its file lives as long as the context.

    Raises BadBody, BadField, UploadTooLarge, UploadStalled, UploadNotStored, or starlette's
    ClientDisconnect.
    """
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "multipart/form-data":
        raise BadField(
            "The body must be multipart/form-data, with the recording in 'file'.",
            param="file",
            code=_MISSING,
        )
    parser = SpoolingParser(
        request.headers,
        _bounded(request, settings, receiving),
        max_files=_MOST_FILES,
        max_fields=_MOST_FIELDS,
        max_part_size=_LARGEST_FIELD,
    )
    try:
        form = await parser.parse()
        receiving.complete = True
    except MultiPartException as error:
        raise BadBody(f"The form cannot be read: {error.message}") from error
    except UnicodeError as error:  # a charset that decodes nothing
        raise BadBody("The form cannot be read: its text is not in its charset.") from error
    except OSError as error:  # while a large part is written to disk
        raise UploadNotStored(f"The upload cannot be stored: {error.strerror}.") from error
    try:
        texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        sent = form.getlist("file")
        url = dict(texts).get(_URL, "")
        if url and not sent:
            async with _fetched(url, settings, receiving) as (file, name):
                yield Upload(texts, RecordingFile(file), name)
        else:
            one = _recording(sent, url)
            yield Upload(texts, RecordingFile(one.file), one.filename or "")
    finally:
        await form.close()


@asynccontextmanager
async def _fetched(
    url: str, settings: Settings, receiving: "Receiving"
) -> AsyncGenerator[tuple[BinaryIO, str]]:
    """What is at an address, and its last name. Raises BadField, UploadTooLarge,
    UploadNotStored."""
    fetching = Fetching.of(settings, _URL)
    with SpooledTemporaryFile(max_size=_SPOOLED, dir=spool_folder()) as file:
        sink = cast("BinaryIO", file)
        try:
            name = await fetching.fetch(url, sink, _URL, receiving.add)
        except OSError as error:
            raise UploadNotStored(f"The recording cannot be stored: {error.strerror}.") from error
        yield sink, name


def _recording(sent: list[UploadFile | str], url: str) -> UploadFile:
    if url:
        raise BadField("'file' and 'file_url' exclude each other.", param=_URL)
    if not sent:
        raise BadField("The field 'file' is required.", param="file", code=_MISSING)
    if len(sent) > 1:
        raise BadField("One recording a request: 'file' was sent more than once.", param="file")
    if isinstance(sent[0], str):
        raise BadField("The field 'file' must be an uploaded file, not text.", param="file")
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
