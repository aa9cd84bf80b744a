"""Paths as clients of other servers spell them, taken for the routes that they mean."""

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

ASKED_MODEL = "marlinscribe.asked_model"  # of a scope: the model that the path names
_ALIASES = {"/health": "/health/ready", "/models": "/v1/models"}
# Groq's SDK, and Azure's newer paths.
_VERSION, _PREFIX = "/openai/v1/", "/openai"
# Clients whose base URL lacks the version; and Azure's, whose paths name the model.
_AUDIO = re.compile(r"(?:/openai/deployments/(?P<model>[^/]+))?(?P<route>/audio/.+)")


class PathsMiddleware:
    """Takes slashes off a path's end: both spellings are one route. Starlette would redirect, to
    the address in the client's Host header, and clients drop their key or their body on the way.
    Takes other servers' paths for the routes that they mean."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if scope["path"].endswith("/"):
                scope["path"] = scope["path"].rstrip("/") or "/"
            _rewrite(scope)
        await self._app(scope, receive, send)


def _rewrite(scope: MutableMapping[str, Any]) -> None:
    path = scope["path"] = _ALIASES.get(scope["path"], scope["path"])
    if path.startswith(_VERSION):
        path = scope["path"] = path.removeprefix(_PREFIX)
    if meant := _AUDIO.fullmatch(path):
        scope["path"] = f"/v1{meant['route']}"
        if meant["model"]:
            scope[ASKED_MODEL] = meant["model"]
