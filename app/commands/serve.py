"""marlinscribe serve."""

import argparse
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from rich.console import Console

from app.commands.console import FAILURE, SUCCESS, USAGE, StageProgress, settings_for
from app.main import create_app
from app.process import keep_freed_memory
from app.startup import Startup


def serve(_: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; 1 if the start failed or the engine died."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    keep_freed_memory()
    startup = Startup()
    progress = StageProgress(console)
    startup.listen(progress.on_status)
    failed = False

    def on_failure() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    app = create_app(settings, startup, on_failure)
    config = uvicorn.Config(
        app, settings.host, settings.port, log_config=None, access_log=False,
        timeout_graceful_shutdown=30,
    )  # fmt: skip
    server = _Server(config)
    try:
        server.run()
    finally:
        progress.close()
    # A start that was told to end may still be importing or downloading in a thread; what must
    # end in order has ended, so the interpreter's own end, which such a thread can crash, is left
    # out.
    logging.shutdown()
    os._exit(FAILURE if failed or not server.started else SUCCESS)


class _Server(uvicorn.Server):
    """Ends with status 0 when told to: uvicorn raises the signal again after its shutdown."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
