"""Errors as OpenAI's envelope, and a request id on every answer."""

import logging
import re
import uuid
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.telemetry import RequestTelemetry
from app.errors import (
    BadField,
    DeadlineExceeded,
    MarlinscribeError,
    RequestError,
    WrongKey,
    envelope,
)

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")


def install(app: FastAPI) -> None:
    app.add_exception_handler(MarlinscribeError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MarlinscribeError)
    return answer(request.scope, error)


def answer(scope: Scope, error: MarlinscribeError) -> JSONResponse:
    """An error's, which is counted where it is to be tried again."""
    telemetry: RequestTelemetry = scope["telemetry"]
    headers, telemetry.facts["code"] = {}, error.code
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
        telemetry.refused(error.code)
    if isinstance(error, DeadlineExceeded) and error.never_fits:
        headers["x-should-retry"] = "false"  # openai's SDKs heed it
    if isinstance(error, WrongKey):
        headers["www-authenticate"] = error.challenge
    return JSONResponse(body_of(error), error.status, headers)


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Answer routing's own errors: no such path, no such method."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    body = envelope(
        f"{str(error.detail).rstrip('.')}: {request.method} {request.url.path}",
        kind=RequestError.kind,
        code=codes.get(error.status_code, "invalid_request"),
    )
    headers = error.headers
    if error.status_code == 405:
        headers = {"allow": ", ".join(sorted(_methods(request)))}
    return JSONResponse(body, error.status_code, headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer what FastAPI itself refuses: a parameter of the query."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    param = str(fault["loc"][-1])
    told = BadField(f"The parameter {param!r} is not valid: {fault['msg']}.", param=param)
    return answer(request.scope, told)


def _methods(request: Request) -> set[str]:
    """Return the methods of all routes at this path; Starlette's own answer names those of the
    first route alone."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in route.methods or ()}


def body_of(error: MarlinscribeError) -> dict[str, Any]:
    return envelope(error.message, kind=error.kind, code=error.code, param=error.param)


def internal_error(error: Exception, request_id: str) -> dict[str, Any]:
    """The body for a defect, which is logged and not told."""
    log.error("request %s", request_id, exc_info=error)
    return envelope(
        f"The server failed on this request; its log has the reason under {request_id}.",
        kind=MarlinscribeError.kind,
        code=MarlinscribeError.code,
    )


class InternalErrorMiddleware:
    """Answers 500 for a defect. Starlette's own handler answers outside of every middleware, where
    a browser may not read the answer; this one stands inside of CORS and of the request id. An
    answer that has begun is cut off, by raising on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            body = internal_error(error, str(scope.get("request_id")))
            await JSONResponse(body, 500)(scope, receive, send)


class RequestIdMiddleware:
    """Takes the client's x-request-id, or makes one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _asked_id(scope) or f"req_{uuid.uuid4().hex}"
        scope["request_id"] = request_id

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, with_id)


def _asked_id(scope: MutableMapping[str, Any]) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            asked = str(value.decode("latin-1"))
            return asked if _REQUEST_ID.fullmatch(asked) else None
    return None
