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
from app.commands.batch import SUFFIX_OF, Batch
from app.commands.console import FAILURE, SUCCESS, USAGE, print_error, settings_for
from app.commands.evaluation import Report
from app.commands.evaluation import evaluate as measure
from app.commands.hub_copies import copied
from app.commands.transcribe import write_all
from app.errors import NoCalibration, StartupError
from app.files import check_writable
from app.recordings.error_rates import Interval
from app.recordings.known_sets import is_hub_set
from app.recordings.read import recordings

_FIELDS = ("model", "language", "prompt")


def transcribe(arguments: argparse.Namespace) -> int:
    """Print each file's transcript, or write them to files; errors go to standard error, and decide
    the status."""
    errors = Console(stderr=True)
    try:
        arguments.url = client.server_url(arguments.url)
    except ValueError as error:
        print_error(errors, str(error))
        return USAGE
    fields = {name: getattr(arguments, name) for name in _FIELDS if getattr(arguments, name)}
    suffixes = tuple(dict.fromkeys(SUFFIX_OF[one] for one in arguments.formats))
    asked = arguments.out or arguments.save or arguments.watch or len(suffixes) > 1
    if asked or any(path.is_dir() for path in arguments.files):
        return write_all(arguments, Batch(tuple(arguments.files), suffixes, arguments.out), fields)
    wanted = arguments.formats[0]
    fields["response_format"] = "text" if wanted == "txt" else wanted
    return _print_all(arguments, fields, errors)


def _print_all(arguments: argparse.Namespace, fields: dict[str, str], errors: Console) -> int:
    several, status = len(arguments.files) > 1, SUCCESS
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
                print_error(errors, f"{path}: {client.explained(error, arguments.url)}")
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
        arguments.url = client.server_url(arguments.url)
        check_writable(arguments.json)
    except ValueError as error:
        print_error(errors, str(error))
        return USAGE
    try:
        stream = recordings(_folder(arguments, errors), arguments.language)
        clips = list(islice(stream, arguments.samples))
    except StartupError as error:
        print_error(errors, error.message)
        return FAILURE
    if not clips:
        print_error(errors, f"{arguments.recordings} holds no recordings with text.")
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
        print_error(errors, f"{outcome.clip.audio!s}: {outcome.fault}")
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
