"""/v1/files: what clients upload for batches, and what batches write, as OpenAI has it."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect
from typing_extensions import TypedDict

from app.api.background import Owner
from app.api.caller import Calling
from app.api.context import Ctx
from app.api.openapi import errors, multipart
from app.api.pages import Limit, ListBody, Page
from app.api.security import require_key
from app.api.uploads import UploadFormat, read_upload
from app.background import Batches, StoredFile
from app.errors import BadField, NotReady
from app.process import run_shielded

_DAY = 86_400  # seconds
_PIECE = 2**18  # bytes
_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it
_PURPOSES = ("batch", "user_data")
_FILE = UploadFormat()
_FORM = {
    "file": {"type": "string", "format": "binary", "description": "Lines of JSON, or a recording."},
    "purpose": {"type": "string", "enum": list(_PURPOSES)},
}


class FileBody(TypedDict):
    """OpenAI's file. Times are Unix seconds; `expires_at` is when it is deleted."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class DeletedFile(TypedDict):
    id: str
    object: Literal["file"]
    deleted: Literal[True]


async def _batches(context: Ctx) -> Batches:
    if context.batches is None:
        raise NotReady("The service is not up yet.", retry_after=2)
    context.batches.check_here()
    return context.batches


Kept = Annotated[Batches, Depends(_batches)]

router = APIRouter(
    prefix="/v1/files",
    tags=["background"],
    dependencies=[Depends(require_key)],
    responses=errors(401, 503),
)


@router.post(
    "",
    response_model=FileBody,
    responses=errors(400, 408, 413, 429),
    openapi_extra=multipart(_FORM),
)
async def upload_file(
    request: Request, context: Ctx, caller: Calling, owner: Owner, batches: Kept
) -> Response:
    """Keep a file: the lines of a batch (`purpose` batch), or a recording that they name by its id
    (batch or user_data)."""
    limit = context.state.limit
    try:
        with limit.place(caller.name), limit.uploads.receiving(caller.name) as receiving:
            async with read_upload(request, context.settings, receiving, _FILE) as upload:
                purpose = _purpose(dict(upload.fields))
                source = upload.recording

                def copy(sink: BinaryIO) -> None:
                    source.file.seek(0)
                    shutil.copyfileobj(source.file, sink, 2**20)

                name, size = upload.filename, source.size
                file = await batches.files.keep(owner, name, purpose, size, copy)
    except ClientDisconnect:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    return JSONResponse(_body(context, file))


@router.get("", responses=errors(400))
async def files(
    context: Ctx, owner: Owner, batches: Kept, purpose: str | None = None,
    limit: Limit = 100, after: str | None = None,
) -> ListBody[FileBody]:  # fmt: skip
    """List the files of this key, the newest first."""
    several = [one for one in batches.files.all(owner) if purpose in (None, one.purpose)]
    return Page(several, limit, after).body(partial(_body, context))


@router.get("/{id}", responses=errors(404))
async def file(context: Ctx, owner: Owner, batches: Kept, id: str) -> FileBody:
    """Return one file's record."""
    return _body(context, batches.files.get(owner, id))


@router.get(
    "/{id}/content",
    response_class=Response,
    responses=errors(404) | {200: {"content": {"application/octet-stream": {}}}},
)
async def file_content(owner: Owner, batches: Kept, id: str) -> Response:
    """Return a file's bytes."""
    found = batches.files.get(owner, id)
    headers = {"content-length": str(found.size)}
    pieces = _pieces(batches.files.path(found))
    try:
        first = await anext(pieces, b"")
    except FileNotFoundError:
        batches.files.get(owner, id)  # which says so where it was deleted meanwhile
        raise
    body = _whole(first, pieces)
    return StreamingResponse(body, media_type="application/octet-stream", headers=headers)


@router.delete("/{id}", responses=errors(404))
async def delete_file(owner: Owner, batches: Kept, id: str) -> DeletedFile:
    """Delete a file. A batch that was begun with it goes on; lines that name it and are not begun
    fail."""
    await batches.files.delete(batches.files.get(owner, id))
    return DeletedFile(id=id, object="file", deleted=True)


def _purpose(fields: Mapping[str, Any]) -> str:
    """Return what a form says that its file is for. Raises BadField."""
    said = str(fields.get("purpose", ""))
    if said not in _PURPOSES:
        raise BadField(f"The field 'purpose' must be {' or '.join(_PURPOSES)}.", param="purpose")
    return said


def _body(context: Ctx, file: StoredFile) -> FileBody:
    return FileBody(
        id=file.id,
        object="file",
        bytes=file.size,
        created_at=file.created_at,
        expires_at=int(file.created_at + context.settings.background_days * _DAY),
        filename=file.filename,
        purpose=file.purpose,
        status="processed",
    )


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _pieces(path: Path) -> AsyncGenerator[bytes]:
    with ExitStack() as stack:  # holds the file also where a client leaves while it is opened
        content = await run_shielded(lambda: stack.enter_context(path.open("rb")))
        while piece := await asyncio.to_thread(content.read, _PIECE):
            yield piece
