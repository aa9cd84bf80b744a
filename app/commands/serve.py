"""marlinscribe serve: run the service."""

import argparse
import errno
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from rich.console import Console

from app.commands.connections import BoundedHttpProtocol
from app.commands.console import (
    FAILURE,
    INTERRUPTED,
    SUCCESS,
    USAGE,
    StageProgress,
    print_error,
    settings_for,
)
from app.models.whisper_vllm.family import WhisperFamily
from app.models.whisper_vllm.plan import pick_device
from app.process import keep_freed_memory
from app.settings import Settings

ASGIApp = Callable[..., Any]

# Seconds. Longer than clients and proxies keep an idle connection (httpx, and with it OpenAI's SDK,
# for 5 s, which is uvicorn's own default; load balancers for 60): where the server is the first to
# close, the request that is sent at that moment is lost.
_KEEP_ALIVE = 75
_LAST_BYTES = 5  # seconds, for answers on their way once nothing is under way any more


def serve(_: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; 1 if the start failed or the engine died for good."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    try:
        check_address(settings.host, settings.port)
    except OSError as error:
        print_error(console, _advice(error, settings))
        return FAILURE
    keep_freed_memory()
    # First thing: what engines are forked from takes seconds to import, on another core.
    WhisperFamily().prepare(pick_device(settings.device), settings.log_level)
    from app.main import create_app, drain

    progress = StageProgress(console)
    failed = False

    def on_failure() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    app = create_app(settings, on_failure)
    for slot in app.state.context.state.slots.values():
        slot.lifecycle.listen(progress.on_status)
    server = _Server(server_config(app, settings), partial(drain, app))
    try:
        server.run()
    finally:
        progress.close()
    # A start that was told to end may still be importing or downloading in a thread; what must
    # end in order has ended, so the interpreter's own end, which such a thread can crash, is left
    # out.
    logging.shutdown()
    os._exit(FAILURE if failed or not server.started else SUCCESS)


def check_address(host: str, port: int) -> None:
    """Check that a server can listen there, before minutes go into a start. Raises OSError."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn's loop does
            probe.bind(address)


def _advice(error: OSError, settings: Settings) -> str:
    where = f"port {settings.port} of {settings.host}"
    if error.errno == errno.EADDRINUSE:
        return f"Another program has {where}: end it, or set MARLINSCRIBE_PORT to a free one."
    if error.errno == errno.EACCES:
        return f"You may not listen on {where}: set MARLINSCRIBE_PORT to one above 1023."
    return (
        f"This machine has no address {settings.host}: set MARLINSCRIBE_HOST to one of its own, to "
        "127.0.0.1 for itself alone, or to 0.0.0.0 for all."
    )


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the app: with bounded connections, and without a log of its own."""
    return uvicorn.Config(
        app, settings.host, settings.port, http=BoundedHttpProtocol, log_config=None,
        access_log=False, timeout_graceful_shutdown=_LAST_BYTES, timeout_keep_alive=_KEEP_ALIVE,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """Drains before it ends, still listening: requests that come meanwhile are answered 503.

    It ends with status 0, where uvicorn raises the signal again. A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain
        self._stopping = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stopping:
            os._exit(INTERRUPTED)  # engine and quantizer end with this process
        self._stopping = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        await super().shutdown(sockets)
