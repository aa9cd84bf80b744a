"""The commands that make and serve checkpoints on this machine."""

import argparse
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.asr.plan import pick_device
from app.errors import StartupError
from app.main import create_app
from app.making import Maker
from app.process import keep_freed_memory
from app.settings import Settings, unknown_variables
from app.startup import Stage, Startup, Status

_SUCCESS, _FAILURE, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def serve(_: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; 1 if the start failed or the engine died."""
    console = Console(stderr=True)
    settings = _settings(console)
    if settings is None:
        return _USAGE
    keep_freed_memory()
    startup = Startup()
    progress = _StartProgress(console)
    startup.listen(progress)
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
    os._exit(_FAILURE if failed or not server.started else _SUCCESS)


def quantize(arguments: argparse.Namespace) -> int:
    """Make the checkpoint that `serve` would make, and print its folder."""
    console = Console(stderr=True)
    asked = {
        name: getattr(arguments, name)
        for name in ("model", "calibration", "quantization", "group_size")
        if getattr(arguments, name) is not None
    }
    settings = _settings(console, **asked)
    if settings is None:
        return _USAGE
    startup = Startup()
    progress = _StartProgress(console)
    startup.listen(progress)
    maker = Maker(settings, pick_device(settings.device), startup.enter)
    try:
        checkpoint = maker.checkpoint()
    except StartupError as error:
        progress.close()
        console.print(str(error), style="red", highlight=False, markup=False)
        return _FAILURE
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        maker.stop()
        progress.close()
    print(checkpoint.folder)
    return _SUCCESS


def _settings(console: Console, **asked: Any) -> Settings | None:
    """From the environment, `asked` before it; None, and told why, where one of them is bad."""
    try:
        settings = Settings(**asked)
    except ValidationError as error:
        for fault in error.errors():
            setting = "_".join(map(str, fault["loc"])).upper()
            where = f"MARLINSCRIBE_{setting}: " if setting else ""  # not one setting's fault
            console.print(f"{where}{fault['msg']}", highlight=False, markup=False)
        return None
    _log_to(console, settings.log_level)
    for name in unknown_variables(os.environ):
        logging.getLogger(__name__).warning("%s is no setting: README.md has the table", name)
    return settings


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


class _StartProgress:
    """The stages of a start: as a bar in a terminal, as lines of the log elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._log = logging.getLogger(__name__)
        self._stage: Stage | None = None
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=None)
            self._bar.start()

    def __call__(self, status: Status) -> None:
        if status.stage is not self._stage:
            self._stage = status.stage
            self._log.info("%s %s", status.stage.value, status.detail)
        elif status.total and not self._bar:
            self._log.info("%s %s of %s layers", status.stage.value, status.done, status.total)
        if self._bar:
            description = f"{status.stage.value} {status.detail}"
            self._bar.update(
                self._task, description=description, total=status.total, completed=status.done or 0
            )
            if status.stage in (Stage.READY, Stage.FAILED):
                self.close()

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def _log_to(console: Console, level: str) -> None:
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level != "debug":
        for chatty in ("httpx", "filelock", "numba", "vllm"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
