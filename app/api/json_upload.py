"""A body in JSON whose recording is base64 in `input_audio.data`, as OpenRouter's API has it and
gateways send it on. The recording is decoded as it arrives, to where uploads wait: never is more of
it held than a piece of the body.

    {"model": "whisper-1", "language": "en", "input_audio": {"data": "UklGR…", "format": "wav"}}
"""

import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, BinaryIO, NoReturn, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.api.spool import spooled_file
from app.errors import BadBody, BadField
from app.json_text import read_json_text

FIELD = "input_audio"
_LARGEST_REST = 2**20  # bytes of all that is not the recording
# What stands before the recording, up to its quotation mark; and how far back that is looked for.
_BEFORE_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*"$')
_BEFORE_RECORDING = re.compile(
    rb'"input_audio"[ \t\r\n]*:[ \t\r\n]*\{[^{}]*"data"[ \t\r\n]*:[ \t\r\n]*"$'
)
_NEAR, _FAR = 64, 4096  # bytes
_CUT_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{0,3})?$")  # .NET writes a plus as \u002B
_LONGEST_PREFIX = 256  # bytes of "data:audio/wav;base64,"
_LETTERS = bytes.maketrans(b"-_", b"+/")  # RFC 4648's alphabet for URLs
_SPACE = b" \t\r\n"


async def read_json(
    chunks: AsyncIterator[bytes], held: AsyncExitStack
) -> tuple[dict[str, Any], BinaryIO]:
    """Return the fields, without the recording and what is null, and the recording's file, which is
    closed with `held`. Raises BadBody, BadField, OSError."""
    file = cast("BinaryIO", spooled_file())
    held.push_async_callback(run_in_threadpool, file.close)
    body = _Body(UploadFile(file, size=0))
    async for chunk in chunks:
        await body.add(chunk)
    fields = body.fields()
    await run_in_threadpool(file.seek, 0)
    return fields, file


class _Body:
    """Divides a body into the recording, which goes to `file`, and the rest, which is kept."""

    def __init__(self, file: UploadFile) -> None:
        self._file = file
        self._rest = bytearray()
        self._in_string = False
        self._recording: _Base64 | None = None
        self._is_within = False  # the recording

    async def add(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk):
            stop = chunk.find(b'"', at)
            stop = len(chunk) if stop < 0 else stop + 1
            if self._is_within:
                await self._decode(chunk[at:stop])
            else:
                self._keep(chunk[at:stop])
            at = stop

    async def _decode(self, piece: bytes) -> None:
        assert self._recording is not None
        self._is_within = not piece.endswith(b'"')
        if self._is_within:
            await self._file.write(self._recording.add(piece))
            return
        self._rest += b'"'  # of the recording an empty text is left
        self._in_string = False
        await self._file.write(self._recording.add(piece[:-1]))
        await self._file.write(self._recording.end())

    def _keep(self, piece: bytes) -> None:
        self._rest += piece
        if len(self._rest) > _LARGEST_REST:
            raise BadBody(f"The JSON has over {_LARGEST_REST} bytes beside the recording.")
        if piece.endswith(b'"') and not (self._in_string and self._is_escaped()):
            self._in_string = not self._in_string
            self._is_within = self._in_string and self._begins_recording()

    def _is_escaped(self) -> bool:
        """Whether the last quotation mark is part of a text."""
        at = len(self._rest) - 2
        while at >= 0 and self._rest[at] == ord("\\"):
            at -= 1
        return (len(self._rest) - at) % 2 == 1

    def _begins_recording(self) -> bool:
        if not _BEFORE_DATA.search(self._rest[-_NEAR:]):
            return False
        if not _BEFORE_RECORDING.search(self._rest[-_FAR:]):
            return False
        if self._recording:
            raise BadField(f"One recording a request: {FIELD!r} is there twice.", param=FIELD)
        self._recording = _Base64()
        return True

    def fields(self) -> dict[str, Any]:
        """What is beside the recording, once all has come. Raises BadBody, BadField."""
        try:
            read = read_json_text(self._rest)
        except ValueError as error:
            raise BadBody("The body is not JSON.") from error
        if not isinstance(read, dict):
            raise BadBody("The body must be an object in JSON.")
        audio = read.pop(FIELD, None)
        if audio is None:
            code = "missing_required_parameter"
            raise BadField(f"The field {FIELD!r} is required.", param=FIELD, code=code)
        if not isinstance(audio, dict) or audio.get("data") != "" or self._recording is None:
            raise BadField(
                f"The field {FIELD!r} must be an object with the recording in 'data', in base64.",
                param=FIELD,
            )
        if not isinstance(audio.get("format", ""), str | None):
            raise BadField(f"The field '{FIELD}[format]' must be text.", param=FIELD)
        return {name: value for name, value in read.items() if value is not None}


class _Base64:
    """Decodes base64 that comes in pieces, as a JSON text escapes it; a data URL's beginning is
    passed over."""

    def __init__(self) -> None:
        self._escape = b""  # the beginning of one
        self._left = b""  # less than what is decoded at once
        self._begun = self._ended = False

    def add(self, piece: bytes) -> bytes:
        """What a piece adds to the recording. Raises BadField."""
        piece, self._escape = self._escape + piece, b""
        if cut := _CUT_ESCAPE.search(piece):
            piece, self._escape = piece[: cut.start()], cut[0]
        self._left += _unescaped(piece).translate(_LETTERS, _SPACE)
        if not self._begun and not self._passed_prefix():
            return b""
        whole = len(self._left) // 4 * 4
        now, self._left = self._left[:whole], self._left[whole:]
        return self._decoded(now)

    def end(self) -> bytes:
        """What is left. Raises BadField."""
        if self._escape:
            _no_base64()
        left, self._left = self._left, b""
        return self._decoded(left + b"=" * (-len(left) % 4))

    def _passed_prefix(self) -> bool:
        """Whether the recording itself has begun."""
        if len(self._left) < len(b"data:"):
            return False
        if self._left.startswith(b"data:"):
            before, comma, behind = self._left.partition(b",")
            if len(before) > _LONGEST_PREFIX:
                _no_base64()
            if not comma:
                return False
            self._left = behind
        self._begun = True
        return True

    def _decoded(self, letters: bytes) -> bytes:
        if letters and self._ended:
            _no_base64()
        self._ended = self._ended or letters.endswith(b"=")
        try:
            return b64decode(letters, validate=True)
        except ValueError:
            _no_base64()


def _unescaped(letters: bytes) -> bytes:
    if b"\\" not in letters:
        return letters
    try:
        return str(json.loads(b'"%b"' % letters)).encode("ascii")
    except ValueError:
        _no_base64()


def _no_base64() -> NoReturn:
    raise BadField(f"The recording in '{FIELD}[data]' is not base64.", param=FIELD)
