"""marlinscribe cache: what the cache holds, and what of it may go."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from app.checkpoints.cache import (
    CachedCheckpoint,
    CachedSource,
    checkpoints,
    size_of,
    sources,
)
from app.client import explained
from app.commands.console import FAILURE, INTERRUPTED, SUCCESS, USAGE, print_error, settings_for
from app.errors import Unavailable
from app.jobs import Records
from app.models.whisper_vllm.plan import pick_device
from app.quantization.retention import Need, Removal, needs, removals, remove, source_needs
from app.settings import Settings

_SMALL = ("jobs", "reports", "canaries", "proofs", "costs", "sensitivities")
_OTHERS = {name: name for name in _SMALL}
_OTHERS["identities"] = "sources/identities"
_FOR_US = ("recipe", "manifest")


def show(arguments: argparse.Namespace) -> int:
    """Print every made checkpoint and converted source, when it was last used, and who needs it."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    entries, converted = checkpoints(settings.cache_dir), sources(settings.cache_dir)
    needed = needs(settings, pick_device(settings.device))
    wanted = source_needs(settings)
    if arguments.json:
        rows = [_as_json(one, needed.get(one.fingerprint)) for one in entries]
        rows += [_as_json(one, wanted.get(one.folder)) for one in converted]
        print(json.dumps(rows, indent=1))
        return SUCCESS
    out = Console(soft_wrap=True)
    out.print(_table(entries, needed))
    if converted:
        out.print(_sources_table(converted, wanted))
    others = {name: size_of(settings.cache_dir / path) for name, path in _OTHERS.items()}
    beside = ", ".join(f"{name} {_size(size)}" for name, size in others.items())
    sizes = [one.size for one in entries] + [one.size for one in converted]
    total = sum(sizes) + sum(others.values())
    out.print(f"{settings.cache_dir}: {_size(total)}, of that {beside}", highlight=False)
    return SUCCESS


def _as_json(one: CachedCheckpoint | CachedSource, need: Need | None) -> dict[str, object]:
    """Sizes in bytes, times in Unix seconds."""
    facts = {name: part for name, part in asdict(one).items() if name not in _FOR_US}
    kind = "checkpoint" if isinstance(one, CachedCheckpoint) else "source"
    return {"kind": kind} | facts | {"folder": str(one.folder), "needed": need}


def _table(entries: Sequence[CachedCheckpoint], needed: dict[str, Need]) -> Table:
    table = Table(highlight=False)
    for column in ("checkpoint", "scheme"):
        table.add_column(column, overflow="fold")
    for column in ("fingerprint", "size", "last used", "needed"):
        table.add_column(column, no_wrap=True, justify="right" if column == "size" else "left")
    for one in entries:
        table.add_row(
            one.name,
            one.scheme,
            one.fingerprint,
            _size(one.size),
            _day(one.used_at),
            needed.get(one.fingerprint, ""),
        )
    return table


def _sources_table(converted: Sequence[CachedSource], needed: dict[Path, Need]) -> Table:
    table = Table(highlight=False)
    for column in ("source", "made of"):
        table.add_column(column, overflow="fold")
    for column in ("size", "last used", "needed"):
        table.add_column(column, no_wrap=True, justify="right" if column == "size" else "left")
    for one in converted:
        need = needed.get(one.folder, "")
        table.add_row(one.name, one.origin, _size(one.size), _day(one.used_at), need)
    return table


def prune(arguments: argparse.Namespace) -> int:
    """Delete what nobody needs, having asked; 1 where something of it could not be deleted."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    with _records(settings, console) as mine:
        may_go = removals(
            settings,
            pick_device(settings.device),
            all_but_serving=arguments.all_but_serving,
            older_than_days=arguments.older_than,
        )
        going = [one for one in may_go if mine or one.kind != "job"]
        _tell(going, kept_jobs=len(may_go) - len(going), console=console)
        if not going or arguments.dry_run:
            return SUCCESS
        try:
            if not _agreed(going, arguments, console):
                return FAILURE
        except KeyboardInterrupt:
            return INTERRUPTED
        return _deleted(going, settings, console)


@contextmanager
def _records(settings: Settings, console: Console) -> Iterator[bool]:
    """Have the records of jobs to oneself, where no server has them; whether that is so."""
    records = Records(settings.cache_dir / "jobs")
    try:
        records.take()
    except Unavailable as error:
        console.print(str(error), style="yellow", highlight=False, markup=False)
        yield False
        return
    try:
        yield True
    finally:
        records.leave()


def _tell(going: Sequence[Removal], *, kept_jobs: int, console: Console) -> None:
    for one in going:
        said = f"{one.kind:<11} {_size(one.size):>10}  {_day(one.used_at)}  {one.path.name}"
        console.print(f"{said}: {one.why}", highlight=False, markup=False, soft_wrap=True)
    if kept_jobs:
        console.print(
            f"{kept_jobs} jobs are the server's: DELETE /quantize/ID/record there.", highlight=False
        )
    if not going:
        console.print("Nothing may go.")


def _agreed(going: Sequence[Removal], arguments: argparse.Namespace, console: Console) -> bool:
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        console.print("Nobody is there to be asked: --yes deletes, --dry-run does not.")
        return False
    total = _size(sum(one.size for one in going))
    return Confirm.ask(f"Delete these {len(going)}, {total}?", default=False, console=console)


def _deleted(going: Sequence[Removal], settings: Settings, console: Console) -> int:
    freed, status = 0, SUCCESS
    for one in going:
        try:
            if remove(one, settings.cache_dir):
                freed += one.size
            else:
                console.print(f"{one.path.name} is in use by now: kept", highlight=False)
        except OSError as error:
            status = FAILURE
            print_error(console, explained(error))
    console.print(f"{_size(freed)} are free again.", highlight=False)
    return status


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))
