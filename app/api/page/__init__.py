"""The page at /, the API's descriptions at /docs and /redoc, and the files that these load.

Whoever reaches the service gets them, keys or not: nothing of anybody's is in them.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from app import __version__
from app.api.context import Ctx
from app.api.page import policy
from app.api.page.files import File, static_files
from app.languages import NAMES

_READ = ["GET", "HEAD"]  # browsers ask by HEAD too, which FastAPI does not take for GET

# Not in /openapi.json, which describes what programs call.
router = APIRouter(include_in_schema=False)


class Limits(TypedDict):
    """What the page says before it sends a recording. Lengths are bytes and seconds; languages are
    Whisper's codes."""

    version: str
    max_upload_bytes: int
    max_audio_seconds: float
    needs_key: bool
    has_admin_key: bool
    languages: list[str]


@router.api_route("/", methods=_READ)
async def home(request: Request) -> Response:
    """Return the page."""
    return await _answer(request, "index.html", policy.PAGE)


@router.api_route("/docs", methods=_READ)
async def docs(request: Request) -> Response:
    """Return the description of the API in which requests can be tried."""
    return await _answer(request, "docs/docs.html", policy.DOCS)


@router.api_route("/redoc", methods=_READ)
async def redoc(request: Request) -> Response:
    """Return the description of the API that is for reading."""
    return await _answer(request, "docs/redoc.html", policy.DOCS)


@router.api_route("/page/limits", methods=_READ)
async def limits(context: Ctx) -> JSONResponse:
    """Return what this server takes."""
    settings = context.settings
    told = Limits(
        version=__version__,
        max_upload_bytes=settings.max_upload_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        needs_key=bool(settings.api_keys),
        has_admin_key=settings.admin_key is not None,
        languages=list(NAMES),
    )
    return JSONResponse(told, headers={"cache-control": "no-store"})


@router.api_route("/page/{name:path}", methods=_READ)
async def asset(request: Request, name: str) -> Response:
    """Return a file that a page loads."""
    return await _answer(request, name, policy.ASSET)


async def _answer(request: Request, name: str, content_policy: str) -> Response:
    """A file, compressed where the browser takes that, or 304 where the browser has it."""
    file = (await asyncio.to_thread(static_files)).get(name)
    if file is None:
        raise HTTPException(404)
    headers = policy.headers(content_policy) | {"etag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return _whole(file, headers, packed="gzip" in request.headers.get("accept-encoding", ""))


def _whole(file: File, headers: dict[str, Any], *, packed: bool) -> Response:
    if not packed or file.packed is None:
        return Response(file.content, headers=headers, media_type=file.kind)
    headers["content-encoding"] = "gzip"
    return Response(file.packed, headers=headers, media_type=file.kind)
