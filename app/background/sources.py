"""Where the recording of a batch's line is: a file that was uploaded, the line itself, or an
address."""

from base64 import b64decode
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from app.audio.recording import RecordingFile
from app.background.files import Files
from app.errors import BadField
from app.outbound.fetching import Fetching
from app.process import run_shielded
from app.settings import Settings

# Ours; Groq's; vLLM's, which is a data URL or an address.
SOURCES = ("file_id", "url", "file_url")


@asynccontextmanager
async def recording_of(
    files: Files, settings: Settings, owner: str, body: Mapping[str, Any]
) -> AsyncGenerator[tuple[RecordingFile | Path, str]]:
    """The recording that a line's body names, and what it is called. Raises BadField, UnknownFile,
    UploadTooLarge, OSError."""
    name, value = _named(body)
    if name == "file_id":
        file = files.get(owner, value, param=name)
        yield files.path(file), file.filename
    elif value.startswith("data:"):
        yield RecordingFile(BytesIO(_data(value, name))), ""
    else:
        fetching = Fetching.of(settings, name)
        with ExitStack() as stack:  # the file has no name, and is gone with its descriptor
            folder = settings.cache_dir
            sink = await run_shielded(lambda: stack.enter_context(TemporaryFile(dir=folder)))
            last = await fetching.fetch(value, sink, name)
            yield RecordingFile(sink), last


def _named(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return which of SOURCES a body has, and its text. Raises BadField."""
    named = {name: body[name] for name in SOURCES if body.get(name)}
    if len(named) != 1:
        raise BadField(f"One of {', '.join(SOURCES)} must name the recording.", param="body")
    ((name, value),) = named.items()
    if not isinstance(value, str):
        raise BadField(f"{name!r} must be a text.", param=name)
    return name, value


def _data(url: str, name: str) -> bytes:
    """Return what a data URL (RFC 2397) holds. Raises BadField."""
    head, _, content = url.partition(",")
    if not head.endswith(";base64"):
        raise BadField(f"{name!r} must be in base64.", param=name)
    try:
        return b64decode(content, validate=True)
    except ValueError as error:
        raise BadField(f"{name!r} is not base64.", param=name) from error
