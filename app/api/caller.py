"""The client that calls, and how long that client waits, read from the request's headers."""

import hashlib
import math
from typing import Annotated

from fastapi import Depends, Request

from app.api.context import Ctx
from app.api.security import Credentials
from app.transcription.session import Caller


async def _caller(request: Request, context: Ctx, credentials: Credentials) -> Caller:
    if context.settings.api_keys and credentials is not None:
        digest = hashlib.sha256(credentials.credentials.encode()).hexdigest()
        name = f"key {digest[:12]}"
    else:
        name = request.client.host if request.client else "nowhere"
    retries = request.headers.get("x-stainless-retry-count", "")[:4]
    once_sent = _seconds(request.headers.get("x-stainless-read-timeout", ""))
    on_the_whole = _seconds(request.headers.get("x-stainless-timeout", ""))
    return Caller(
        name,
        once_sent or on_the_whole,
        int(retries) if retries.isascii() and retries.isdigit() else None,
        while_sending=once_sent is None,
    )


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


Calling = Annotated[Caller, Depends(_caller)]
