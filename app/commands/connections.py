"""Connections, bounded before a request is one: in bytes of its head, in time, and in number.

uvicorn bounds none of these under httptools (`h11_max_incomplete_event_size` is h11's alone). What
comes after a head, the body, is bounded where it is read (app.api.uploads).
"""

import asyncio
import json
import resource
import time
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import RequestError, envelope

_MOST_CONNECTIONS = 4096  # with a whole head each, 256 MB
_DESCRIPTORS_SHARE = 0.75  # of those this process may have; the rest is for files and the engine
_LINGER = 2.0  # seconds, in which a client that is refused while it sends may read why


def _most_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, int(_DESCRIPTORS_SHARE * descriptors))


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection of uvicorn's.

    Whatever is no body, heads, chunk lengths and trailers, counts from the body's last byte on: a
    head that has `most_head_bytes` and is not at its end is refused. So is one that is not there
    `head_seconds` after its connection, or after its first byte on a connection that was used
    before. Where there are `most_connections`, the one that has been without a request for longest
    makes room.
    """

    most_head_bytes = 2**16
    head_seconds = 20.0
    most_connections = _most_connections()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._unused = 0  # bytes that came and are no body
        self._in_head = True
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        # Not the loop's time, which stands still while it accepts many at once.
        self.idle_since = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._set_deadline()
        if len(self.connections) > self.most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, never more at once than a head may still have."""
        while data and not self._refused and self._is_open():
            room = self.most_head_bytes - self._unused
            if not room:
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "headers_too_large",
                    f"The request's headers have more than {self.most_head_bytes} bytes.",
                )
                return
            piece, data = data[:room], data[room:]
            self._unused += len(piece)
            super().data_received(piece)
        if self._unused and self._in_head and not self._deadline and self._is_open():
            self._set_deadline()
        if self.idle and not self._in_head and not self._refused and self._is_open():
            self._await_rest()

    # What the parser calls

    def on_message_begin(self) -> None:
        # Its first bytes may have come behind the last ones of the request before.
        self._unused = max(1, self._unused)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._drop_deadline()
        self._unused, self._in_head = 0, False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unused, self._in_head = 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.idle_since = time.monotonic()
        super().on_response_complete()

    # What ends a connection

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, in the envelope."""
        self._refuse(HTTPStatus.BAD_REQUEST, "invalid_http", msg)

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        """Answer and close. Where a request is being answered, that one is cut off: an answer in
        the midst of another would be read as a part of it."""
        self._refused = True
        self._drop_deadline()
        if not self.idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        self.transport.write(_answer(status, code, message))
        # Closed with bytes unread, a connection is reset, and the answer may be lost with it.
        self._deadline = self.loop.call_later(_LINGER, self.transport.close)

    def _late(self) -> None:
        self._deadline = None
        if not self._is_open():
            return
        if not self.idle:  # the next request's head waits for the answer to this one
            self._set_deadline()
        elif self._unused:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                "headers_timeout",
                f"The request's headers were not complete after {self.head_seconds:g} s.",
            )
        else:
            self.transport.close()

    def _make_room(self) -> None:
        bounded = (one for one in self.connections if isinstance(one, BoundedHttpProtocol))
        idle = (one for one in bounded if one.idle and not one.transport.is_closing())
        min(idle, key=lambda one: one.idle_since).transport.abort()  # this one, where none is older

    def _await_rest(self) -> None:
        """A body that was answered before its end still comes: as long as that goes on."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._late)

    def _drop_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _is_open(self) -> bool:
        """Whether this protocol still has a connection: a WebSocket's goes to another one."""
        return self.transport.get_protocol() is self and not self.transport.is_closing()


def _answer(status: HTTPStatus, code: str, message: str) -> bytes:
    """A whole answer in OpenAI's envelope: no request that routes could answer ever was."""
    body = json.dumps(envelope(message, kind=RequestError.kind, code=code)).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: req_{uuid.uuid4().hex}",
        "connection: close",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
