"""The commands that ask a running server: transcribe and evaluate."""

import argparse
import json
import sys
from itertools import islice
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app import client
from app.commands.console import FAILURE, SUCCESS, USAGE, settings_for
from app.commands.evaluation import Report
from app.commands.evaluation import evaluate as measure
from app.commands.hub_copies import copied
from app.errors import NoCalibration, StartupError
from app.files import check_writable
from app.recordings.error_rates import Interval
from app.recordings.known_sets import is_hub_set
from app.recordings.read import recordings


def transcribe(arguments: argparse.Namespace) -> int:
    """Print each file's transcript; errors go to standard error, and decide the status."""
    errors, status = Console(stderr=True), SUCCESS
    several = len(arguments.files) > 1
    fields = {"response_format": arguments.response_format}
    for name in ("language", "prompt"):
        if value := getattr(arguments, name):
            fields[name] = value
    with (
        client.connect(arguments.url, arguments.key) as server,
        _progress(errors, shown=several) as progress,
    ):
        task = progress.add_task("transcribing", total=len(arguments.files))
        for path in arguments.files:
            progress.update(task, description=path.name)
            try:
                text = client.transcribe(server, path, fields).text
            except (OSError, client.Refused, httpx.HTTPError) as error:
                _print_error(errors, f"{path}: {error}")
                status = FAILURE
            else:
                text = text if text.endswith("\n") else text + "\n"
                sys.stdout.write(f"{path}\t{text}" if several else text)
                sys.stdout.flush()
            progress.advance(task)
    return status


def evaluate(arguments: argparse.Namespace) -> int:
    """Print error rates by language; 1 where a recording got no answer."""
    errors = Console(stderr=True)
    try:
        check_writable(arguments.json)
    except ValueError as error:
        _print_error(errors, str(error))
        return USAGE
    try:
        stream = recordings(_folder(arguments, errors), arguments.language)
        clips = list(islice(stream, arguments.samples))
    except StartupError as error:
        _print_error(errors, error.message)
        return FAILURE
    if not clips:
        _print_error(errors, f"{arguments.recordings} holds no recordings with text.")
        return FAILURE
    with (
        client.connect(arguments.url, arguments.key) as server,
        _progress(errors) as progress,
    ):
        task = progress.add_task("evaluating", total=len(clips))
        report = measure(
            server,
            clips,
            at_once=arguments.at_once,
            send_language=not arguments.detect,
            on_done=lambda: progress.advance(task),
        )
    Console().print(_table(report))
    for outcome in report.faults:
        _print_error(errors, f"{outcome.clip.audio!s}: {outcome.fault}")
    if arguments.json:
        text = json.dumps(report.as_json(), ensure_ascii=False, indent=1)
        arguments.json.write_text(text + "\n", "utf-8")
    return FAILURE if report.faults else SUCCESS


def _folder(arguments: argparse.Namespace, errors: Console) -> Path:
    """Return where the recordings lie; a hub's are copied into the cache. Raises StartupError."""
    source = arguments.recordings
    path = Path(source).expanduser()
    if path.exists() or not is_hub_set(source):
        return path
    settings = settings_for(errors)
    if settings is None:
        raise NoCalibration("A hub's set is copied into the cache that the settings name.", "")
    with errors.status(f"copying {source} from the hub"):
        return copied(source, arguments.language, arguments.samples, settings)


def _table(report: Report) -> Table:
    table = Table(
        title=f"{len(report.outcomes)} recordings, RTFx {report.rtfx:.1f}; 95 % intervals",
        highlight=False,
    )
    for column in ("language", "recordings", "WER", "CER", "CER as written", "language right"):
        table.add_column(column, justify="right" if column != "language" else "left")
    for language, score in report.scores.items():
        table.add_row(
            language,
            str(score.recordings),
            _percent(score.rates.get("wer")),
            _percent(score.rates.get("cer")),
            _percent(score.as_written),
            f"{score.language_right}/{score.recordings}",
        )
    return table


def _percent(one: Interval | None) -> str:
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})" if one else ""


def _print_error(errors: Console, text: str) -> None:
    errors.print(text, style="red", highlight=False, markup=False)


def _progress(console: Console, *, shown: bool = True) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not shown,
        transient=True,
        # Standard output is the results': rich would take it for its own.
        redirect_stdout=False,
        redirect_stderr=False,
    )
