"""marlinscribe serve | transcribe FILE… | evaluate RECORDINGS"""

import argparse
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app import __version__, client_commands
from app.main import create_app
from app.process import keep_freed_memory
from app.settings import Settings, unknown_variables
from app.startup import Stage, Startup, Status

_SUCCESS, _FAILURE, _USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="marlinscribe", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)

    serve_parser = commands.add_parser(
        "serve", help="run the service; MARLINSCRIBE_* variables set it up"
    )
    serve_parser.set_defaults(run=lambda _: serve())

    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--url", default="http://127.0.0.1:8000", help="of the server")
    server.add_argument(
        "--key",
        default=os.environ.get("MARLINSCRIBE_API_KEYS", "").split(",")[0].strip(),
        help="of the server; else the first of MARLINSCRIBE_API_KEYS",
    )
    transcribe_parser = commands.add_parser(
        "transcribe", parents=[server], help="send recordings to a server"
    )
    transcribe_parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    transcribe_parser.add_argument("--language", help="ISO code; detected if absent")
    transcribe_parser.add_argument("--prompt", help="text that came before: sways the spelling")
    transcribe_parser.add_argument(
        "--format",
        default="text",
        choices=["text", "json", "verbose_json", "srt", "vtt"],
        dest="response_format",
    )
    transcribe_parser.set_defaults(run=client_commands.transcribe)

    evaluate_parser = commands.add_parser(
        "evaluate", parents=[server], help="a server's error rates on recordings with known words"
    )
    evaluate_parser.add_argument(
        "recordings", type=Path, help="a manifest (jsonl, csv) or a folder, as for calibration"
    )
    evaluate_parser.add_argument(
        "--language", default="en", help="of recordings that name none (default: en)"
    )
    evaluate_parser.add_argument(
        "--detect", action="store_true", help="leave the language to the server"
    )
    evaluate_parser.add_argument("--at-once", type=int, default=4, help="requests (default: 4)")
    evaluate_parser.add_argument("--json", type=Path, metavar="FILE", help="write every answer too")
    evaluate_parser.set_defaults(run=client_commands.evaluate)

    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


def serve() -> int:
    """Run until SIGINT or SIGTERM; 1 if the start failed or the engine died."""
    console = Console(stderr=True)
    try:
        settings = Settings()
    except ValidationError as error:
        for fault in error.errors():
            setting = "_".join(map(str, fault["loc"])).upper()
            where = f"MARLINSCRIBE_{setting}: " if setting else ""  # not one setting's fault
            console.print(f"{where}{fault['msg']}", highlight=False, markup=False)
        return _USAGE
    _log_to(console, settings.log_level)
    keep_freed_memory()
    for name in unknown_variables(os.environ):
        logging.getLogger(__name__).warning("%s is no setting: README.md has the table", name)
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
