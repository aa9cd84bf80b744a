"""Where the recording of a batch's line is: a file that was uploaded, or in the line itself."""

from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from app.audio.recording import RecordingFile
from app.background.files import Files
from app.errors import BadField

# Ours; Groq's; vLLM's, which is a data URL or an address.
SOURCES = ("file_id", "url", "file_url")


def recording_of(
    files: Files, owner: str, body: Mapping[str, Any]
) -> tuple[RecordingFile | Path, str]:
    """Return the recording that a line's body names, and what it is called. Raises BadField,
    UnknownFile."""
    named = {name: body[name] for name in SOURCES if body.get(name)}
    if len(named) != 1:
        raise BadField(f"One of {', '.join(SOURCES)} must name the recording.", param="body")
    ((name, value),) = named.items()
    if not isinstance(value, str):
        raise BadField(f"{name!r} must be a text.", param=name)
    if name != "file_id":
        return RecordingFile(BytesIO(_data(value, name))), ""
    file = files.get(owner, value, param=name)
    return files.path(file), file.filename


def _data(url: str, name: str) -> bytes:
    """Return what a data URL (RFC 2397) holds. Raises BadField."""
    head, _, content = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise BadField(
            f"{name!r} must be a data URL in base64: this server fetches no recordings.", param=name
        )
    try:
        return b64decode(content, validate=True)
    except ValueError as error:
        raise BadField(f"{name!r} is not base64.", param=name) from error
