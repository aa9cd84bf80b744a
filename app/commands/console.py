"""Terminal helpers that the commands share: settings, the log, progress."""

import logging
import os
from typing import Any

from pydantic import ValidationError
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.serving.lifecycle import Stage, Status
from app.settings import Settings, unknown_variables

log = logging.getLogger(__name__)

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130
_MOST_LINES = 100  # of one stage, in a log
# A line's own fields in JSON; the request telemetry comes beside them (app.api.telemetry).
_FIELDS = ("levelname", "name", "message")
_RENAMED = {"levelname": "level", "name": "logger"}


def settings_for(console: Console, **asked: Any) -> Settings | None:
    """Read the settings from the environment, with `asked` taking precedence; print what is wrong
    and return None where one is invalid."""
    try:
        settings = Settings(**asked)
    except ValidationError as error:
        for fault in error.errors():
            setting = "_".join(map(str, fault["loc"])).upper()
            where = f"MARLINSCRIBE_{setting}: " if setting else ""  # not one setting's fault
            # One line, as a log keeps it: its reader looks for the variable's name.
            console.print(f"{where}{fault['msg']}", highlight=False, markup=False, soft_wrap=True)
        return None
    _log_to(console, settings)
    for name in unknown_variables(os.environ):
        logging.getLogger(__name__).warning(
            "%s is no setting: docs/reference.md has them all", name
        )
    return settings


def _log_to(console: Console, settings: Settings) -> None:
    handler: logging.Handler
    if settings.log_format == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(
            JsonFormatter(
                _FIELDS, rename_fields=_RENAMED, timestamp="time", json_ensure_ascii=False
            )
        )
    elif console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    if settings.log_level != "debug":
        for chatty in ("httpx", "filelock", "numba", "vllm"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def print_error(console: Console, text: str) -> None:
    """Print what went wrong, as it is: a path that is broken at a line's end is no path."""
    console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)


class StageProgress:
    """Shows the stages of long work: as a bar in a terminal, as lines of the log elsewhere."""

    def __init__(self, console: Console) -> None:
        self._stage: str | None = None
        self._detail = ""
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=None)
            self._bar.start()

    def on_status(self, status: Status) -> None:
        """Show the status of a start."""
        self.show(status.stage.value, status.detail, status.done, status.total)
        if status.stage in (Stage.READY, Stage.FAILED):
            self.close()

    def show(self, stage: str, detail: str = "", done: int | None = None, total: int | None = None,
             unit: str = "layers") -> None:  # fmt: skip
        """Show a stage, of which `done` of `total` units are done."""
        if stage != self._stage or (detail != self._detail and not total):
            self._stage, self._detail = stage, detail
            log.info("%s %s", stage, detail)
        elif total and not self._bar and (done or 0) % max(1, total // _MOST_LINES) == 0:
            log.info("%s %s of %s %s", stage, done, total, unit)
        if self._bar:
            described = f"{stage} {detail}".strip()
            self._bar.update(self._task, description=described, total=total, completed=done or 0)

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
