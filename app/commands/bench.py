"""marlinscribe bench: how fast a running server is with its user's own recordings, and where the
time goes."""

import argparse
import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from app import client
from app.audio.decode import decode_to
from app.audio.waveform import SAMPLE_RATE
from app.commands.batch import Batch
from app.commands.bench_report import Row, as_json, tables
from app.commands.console import FAILURE, INTERRUPTED, SUCCESS, USAGE, print_error
from app.commands.load import Asker, Bound, Load, Recording
from app.commands.server_metrics import Between, look, what_serves
from app.errors import RequestError, StartupError
from app.recordings.read import recordings

SETTLE_SECONDS = 1.5  # an engine tells its metrics once a second
_LONGEST = 10_000_000.0  # seconds of a recording: what is too long, the server says
_FAULTS = (OSError, ValueError, client.Refused, httpx.HTTPError, RequestError, StartupError)


def bench(arguments: argparse.Namespace) -> int:
    """Measure a server and print it; 1 where it could not be, or nothing was transcribed."""
    errors = Console(stderr=True, soft_wrap=True)
    try:
        arguments.url = client.server_url(arguments.url)
    except ValueError as error:
        print_error(errors, str(error))
        return USAGE
    run = _Run(arguments, errors)
    try:
        asyncio.run(run.all())
    except _FAULTS as error:
        print_error(errors, client.explained(error, arguments.url))
        run.status = FAILURE
    except KeyboardInterrupt:
        print_error(errors, "Stopped.")
        run.status = INTERRUPTED
    if run.rows:
        run.show()
    return run.status


class _Run:
    """One measurement. rows: of the loads that are over by now."""

    def __init__(self, arguments: argparse.Namespace, errors: Console) -> None:
        self.rows: list[Row] = []
        self.status = SUCCESS
        self._asked, self._errors = arguments, errors
        self._server: dict[str, Any] = {"url": arguments.url}

    async def all(self) -> None:
        """Measure every load. Raises what is wrong with recordings or server, and ValueError where
        nothing was transcribed."""
        asked = self._asked
        with self._errors.status("reading the recordings"):
            several = await asyncio.to_thread(
                _recordings, asked.files, asked.reference, asked.language
            )
        async with client.connect_async(asked.url, asked.key, None) as server:
            self._server |= what_serves(await client.check(server))
            asker = Asker(server, _fields(asked))
            for number in asked.rate or asked.concurrency:
                await self._warm(asker, several, number)
                self.rows.append(await self._measured(asker, server, several, number))
                _check(self.rows[-1].load)

    async def _warm(self, asker: Asker, several: Sequence[Recording], number: float) -> None:
        """Ask, in a closed loop, what does not count. Raises ValueError."""
        clients = 1 if self._asked.rate else int(number)
        with self._errors.status(f"{self._name(number)}: warming up"):
            load = await asker.closed(several, clients, Bound(self._asked.warmup or clients))
            _check(load)
            await asyncio.sleep(SETTLE_SECONDS)

    async def _measured(
        self, asker: Asker, server: httpx.AsyncClient, several: Sequence[Recording], number: float
    ) -> Row:
        asked, name = self._asked, self._name(number)
        bound = Bound(asked.requests, math.inf if asked.requests else asked.seconds)
        with self._errors.status(f"{name}: measuring"):
            before = await look(server)
            if asked.rate:
                load = await asker.open(several, number, bound)
            else:
                load = await asker.closed(several, int(number), bound)
            await asyncio.sleep(SETTLE_SECONDS)
            after = await look(server)
        return Row(name, load, Between(before, after) if before and after else None)

    def _name(self, number: float) -> str:
        return f"{number:g} a second" if self._asked.rate else f"{number:g} at once"

    def show(self) -> None:
        """Print the rows, as tables or in JSON."""
        if self._asked.json:
            print(json.dumps(as_json(self._server, self.rows), ensure_ascii=False, indent=1))
            return
        console = Console()
        for table in tables(self._server, self.rows):
            console.print(table)
        for row in self.rows:
            for note in row.notes:
                console.print(f"{row.name}: {note}", highlight=False, markup=False)


def _check(load: Load) -> None:
    """Raise ValueError, with what became of the first request, where nothing was transcribed."""
    if not load.good:
        first = load.answers[0]
        raise ValueError(f"Nothing was transcribed ({first.code}): {first.why}")


def _fields(asked: argparse.Namespace) -> dict[str, str]:
    fields = {name: getattr(asked, name) for name in ("model", "language")}
    told = {name: value for name, value in fields.items() if value}
    return {**told, "stream": "true"} if asked.stream else told


def _recordings(
    files: Sequence[Path], reference: Path | None, language: str | None
) -> list[Recording]:
    """Return what is to be sent, with its length and its words. Raises OSError, NoCalibration of
    the reference, and ValueError where there is nothing, or no sound in it."""
    known = list(recordings(reference, language or "en")) if reference else []
    if reference and not known:
        raise ValueError(f"{reference} holds no recordings with text.")
    words = {Path(str(one.audio)).resolve(): one for one in known}
    paths = [one.path for one in Batch(tuple(files), ()).recordings()] or [*words]
    if not paths:
        raise ValueError("There are no recordings: name files, folders, or a --reference.")
    if words and not words.keys() & {path.resolve() for path in paths}:
        raise ValueError(f"{reference} has the words of none of these recordings.")
    return [_recording(path, words.get(path.resolve())) for path in paths]


def _recording(path: Path, known: Any) -> Recording:
    try:
        with path.open("rb") as file:
            samples = decode_to(len, file, max_seconds=_LONGEST).samples
    except RequestError as error:
        raise ValueError(f"{path}: {error.message}") from error
    text, language = (known.text, known.language) if known else ("", "")
    return Recording(path, samples / SAMPLE_RATE, text, language)
