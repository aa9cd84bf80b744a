"""Reading of a multipart form: bounded in bytes, on disk where it is large, and only once the
client's key is checked and the service can answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.audio.recording import RecordingFile
from app.errors import BadBody, BadField, UploadNotStored, UploadStalled, UploadTooLarge
from app.settings import Settings

_MOST_FIELDS = 250
_MOST_FILES = 8  # one is used; others are fields nobody knows
_LARGEST_FIELD = 2**17  # bytes
_SLOWEST = 2000  # bytes a second on the whole: less is no upload, but a place held
_MISSING = "missing_required_parameter"  # OpenAI's code


@dataclass(frozen=True)
class Upload:
    """A form's text fields, in the order they came, and its recording."""

    fields: list[tuple[str, str]]
    recording: RecordingFile


@asynccontextmanager
async def read_upload(request: Request, settings: Settings) -> AsyncGenerator[Upload]:
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
    parser = MultiPartParser(
        request.headers,
        _bounded(request, settings.max_upload_bytes, settings.upload_idle_seconds),
        max_files=_MOST_FILES,
        max_fields=_MOST_FIELDS,
        max_part_size=_LARGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadBody(f"The form cannot be read: {error.message}") from error
    except UnicodeError as error:  # a charset that decodes nothing
        raise BadBody("The form cannot be read: its text is not in its charset.") from error
    except OSError as error:  # while a large part is written to disk
        raise UploadNotStored(f"The upload cannot be stored: {error.strerror}.") from error
    try:
        texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        yield Upload(texts, RecordingFile(_recording(form.getlist("file"), texts)))
    finally:
        await form.close()


def _recording(sent: list[UploadFile | str], texts: list[tuple[str, str]]) -> BinaryIO:
    if not sent:
        raise BadField("The field 'file' is required.", param="file", code=_MISSING)
    if len(sent) > 1:
        raise BadField("One recording a request: 'file' was sent more than once.", param="file")
    if isinstance(sent[0], str):
        raise BadField("The field 'file' must be an uploaded file, not text.", param="file")
    return sent[0].file


async def _bounded(request: Request, most: int, idle_seconds: float) -> AsyncGenerator[bytes]:
    """The body, refused at the first byte over `most`, or by its announced length at once; and
    when nothing has come for so long, for its sender may be gone without a word, or too little."""
    message = f"The request is larger than {most} bytes, the limit of this server."
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise UploadTooLarge(message, param="file")
    received, chunks = 0, request.stream()
    clock = asyncio.get_running_loop().time
    begun = clock()
    while True:
        patience = min(idle_seconds, begun + idle_seconds + received / _SLOWEST - clock())
        try:
            async with asyncio.timeout(patience):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise UploadStalled(
                f"{received} bytes have come, too few for the time: none for {idle_seconds:g} s, "
                f"or under {_SLOWEST} a second."
            ) from error
        if chunk is None:
            return
        received += len(chunk)
        if received > most:
            raise UploadTooLarge(message, param="file")
        yield chunk
