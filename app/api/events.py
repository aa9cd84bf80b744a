"""Server-sent events, as OpenAI streams a transcript."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.envelope import body_of, internal_error
from app.errors import MarlinscribeError

DONE = "[DONE]"
_HEARTBEAT = b": waiting\n\n"  # a comment: clients pass over it, proxies see a living line

Event = Mapping[str, Any] | str


class EventStream(Response):
    """An answer that sends each event as a frame as soon as it comes, a comment after every
    silence, and an error as the last frame.

    `events` is closed when it is over, and when the client leaves. `on_error` is called with the
    error's code.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[Event],
        *,
        heartbeat_seconds: float,
        on_abort: Callable[[], None],
        on_error: Callable[[str], None],
    ) -> None:
        self.status_code = 200
        self.background = None
        # X-Accel-Buffering: nginx would hold the events back.
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events = events
        self._heartbeat = heartbeat_seconds
        self._on_abort = on_abort
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_client_leaves(receive, self._send(send, scope))
        except ClientLeft:
            self._on_abort()

    async def _send(self, send: Send, scope: Scope) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await self._send_frames(send, str(scope.get("request_id")))
        await send({"type": "http.response.body", "body": b""})

    async def _send_frames(self, send: Send, request_id: str) -> None:
        async with aclosing(self._frames(request_id)) as frames:
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})

    async def _frames(self, request_id: str) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(_or_silence(self._events, self._heartbeat)) as events:
                async for event in events:
                    yield _HEARTBEAT if event is None else frame(event)
        except MarlinscribeError as error:
            self._on_error(error.code)
            yield frame(body_of(error))
        except Exception as error:
            self._on_error(MarlinscribeError.code)
            yield frame(internal_error(error, request_id))


async def _or_silence(
    events: AsyncGenerator[Event], seconds: float
) -> AsyncGenerator[Event | None]:
    """Yield every event, and None whenever none has come for so many seconds."""
    async with aclosing(events):
        following = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait({following}, timeout=seconds)
                if not following.done():
                    yield None
                elif (event := following.result()) is None:
                    return
                else:
                    yield event
                    following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await following


def frame(event: Event) -> bytes:
    """Return an event as the bytes that are sent."""
    data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return f"data: {data}\n\n".encode()
