"""The end of the service: requests under way are answered 503 instead of being cut off."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import Context
from app.api.envelope import answer, body_of
from app.api.events import frame
from app.api.telemetry import RequestTelemetry
from app.errors import ShuttingDown

_STREAM = b"text/event-stream"
_LAST_WORD = 5  # seconds, for the answers to be sent


class Unfinished:
    """Tracks requests that can still be answered otherwise: those without an answer so far, and
    streams. For the event loop's thread."""

    def __init__(self) -> None:
        self.refused = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()

    def add(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)

    def streams(self, task: "asyncio.Task[None]") -> bool:
        return task in self._streams

    def begins(self, task: "asyncio.Task[None]", *, stream: bool) -> None:
        """Note that a request's answer begins; one that is no stream is whole with that."""
        if stream:
            self._streams.add(task)
        else:
            self.discard(task)

    def discard(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._streams.discard(task)

    async def wait_non_streaming(self, seconds: float) -> None:
        """Wait for all requests that are no streams, at most so many seconds."""
        if tasks := self._tasks - self._streams:
            await asyncio.wait(tasks, timeout=seconds)

    async def refuse(self) -> None:
        """Answer all unfinished requests that the service is shutting down."""
        self.refused = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORD)


class StoppingMiddleware:
    """Ends a request that `unfinished` refuses: with 503, or with an error as its stream's last
    frame. Plain ASGI, inside of what counts and logs."""

    def __init__(self, app: ASGIApp, unfinished: Unfinished) -> None:
        self._app = app
        self._unfinished = unfinished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._unfinished.begins(task, stream=_is_stream(message))
            elif not message.get("more_body"):
                self._unfinished.discard(task)
            await send(message)

        self._unfinished.add(task)
        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if not self._unfinished.refused:
                raise
            task.uncancel()
            await _refuse(scope, receive, send, stream=self._unfinished.streams(task))
        finally:
            self._unfinished.discard(task)


def _is_stream(start: Message) -> bool:
    headers = dict(start["headers"])
    return bool(headers.get(b"content-type", b"").startswith(_STREAM))


async def _refuse(scope: Scope, receive: Receive, send: Send, *, stream: bool) -> None:
    context: Context = scope["app"].state.context
    error = ShuttingDown(
        "The service is shutting down, and this took longer than it could wait.",
        retry_after=context.state.status().retry_after,
    )
    if stream:
        telemetry: RequestTelemetry = scope["telemetry"]
        telemetry.stream_failed(error.code)
        await send({"type": "http.response.body", "body": frame(body_of(error))})
    else:
        await answer(scope, error)(scope, receive, send)
