"""marlinscribe transcribe, where transcripts are written to files: of folders, of several formats,
and of what comes into folders that are watched."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from app import client
from app.audio.container import open_container
from app.commands.batch import Batch, Recording, Settled, clashes
from app.commands.console import FAILURE, INTERRUPTED, SUCCESS, print_error
from app.commands.rendering import rendered
from app.errors import RequestError
from app.files import write_whole

_LOOK_SECONDS = 2.0  # between two looks at what is watched
_TIME_BASE = 1_000_000  # of FFmpeg's durations (AV_TIME_BASE)
_FAULTS = (OSError, client.Refused, httpx.HTTPError, KeyError, TypeError, ValueError)
_FOR_GOOD = range(400, 500)
_GRANULARITIES = "timestamp_granularities[]"


def write_all(arguments: argparse.Namespace, batch: Batch, fields: dict[str, str]) -> int:
    """Write the transcripts of a batch; 1 where a recording has none."""
    run = _Run(arguments, batch, fields)
    try:
        asyncio.run(run.all())
    except KeyboardInterrupt:
        if not arguments.watch:
            print_error(
                run.errors, "Stopped. What is written is whole; the next run does the rest."
            )
            return INTERRUPTED
    except _FAULTS as error:  # before there was anything to do
        print_error(run.errors, client.explained(error, arguments.url))
        return FAILURE
    run.sum_up()
    return FAILURE if run.failed else SUCCESS


class _Run:
    """One run over a batch. failed: recordings without a transcript, by now."""

    def __init__(self, arguments: argparse.Namespace, batch: Batch, fields: dict[str, str]) -> None:
        self.errors = Console(stderr=True, soft_wrap=True)
        self.failed: set[Path] = set()
        self._asked = arguments
        self._batch = batch
        self._fields: dict[str, Any] = dict(fields)
        if {"srt", "vtt", "json"} & set(batch.suffixes):
            self._fields[_GRANULARITIES] = ["word", "segment"]
        self._over: set[Path] = set()  # done, or refused for good
        self._written = 0
        self._kept = 0
        self._seconds = 0.0  # of sound
        self._progress = _progress(self.errors)
        self._slots = asyncio.Semaphore(arguments.at_once)

    async def all(self) -> None:
        """Everything that is there; where it is watched, what comes as well, without an end. Raises
        Refused, httpx.HTTPError where no server will answer."""
        url, key = self._asked.url, self._asked.key
        async with client.connect_async(url, key, self._asked.at_once) as server:
            await client.check(server)
            with self._progress:
                await self._transcribe(server, await self._due())
                settled = Settled()
                while self._asked.watch:
                    await asyncio.sleep(_LOOK_SECONDS)
                    due = await self._due()
                    await self._transcribe(server, settled.among(due))

    def sum_up(self) -> None:
        """Say what became of the batch."""
        told = f"{self._written} written ({_clock(self._seconds)} of sound)"
        told += f", {self._kept} done before, {len(self.failed)} failed."
        self.errors.print(told, highlight=False)

    async def _due(self) -> list[Recording]:
        """Return what is there and not over."""
        found = await asyncio.to_thread(self._batch.recordings)
        if not found and not self._asked.watch:
            raise ValueError("There are no recordings.")
        for one in clashes(found):
            self._fail(
                one, "its transcript would take another file's place: give it a name of its own"
            )
            self._over.add(one.path)
        return [one for one in found if one.path not in self._over and not self._is_done(one)]

    def _is_done(self, one: Recording) -> bool:
        try:
            is_done = one.is_done and not self._asked.again
        except OSError:
            return False  # that it cannot be read is told when it is sent
        if is_done:
            self._over.add(one.path)
            self._kept += 1
        return is_done

    async def _transcribe(self, server: httpx.AsyncClient, several: Sequence[Recording]) -> None:
        lengths = await asyncio.gather(
            *(asyncio.to_thread(_seconds_of, one.path) for one in several)
        )
        works = [
            self._one(server, one, length) for one, length in zip(several, lengths, strict=True)
        ]
        await asyncio.gather(*works)

    async def _one(self, server: httpx.AsyncClient, one: Recording, length: float | None) -> None:
        """Transcribe and write one recording, when it has a slot."""
        bar = self._progress.add_task(one.path.name, total=length, visible=False)
        try:
            async with self._slots:
                self._progress.update(bar, visible=True)
                told = await self._told(server, one.path, bar)
                for suffix, target in one.targets.items():
                    await asyncio.to_thread(write_whole, target, rendered(told, suffix).encode())
        except _FAULTS as error:
            if _is_for_good(error):
                self._over.add(one.path)
            self._fail(one, client.explained(error, self._asked.url))
        else:
            self._note(one, float(told["duration"]))
        finally:
            self._progress.remove_task(bar)

    async def _told(self, server: httpx.AsyncClient, path: Path, bar: TaskID) -> dict[str, Any]:
        """A recording's verbose_json; without words where the model gives them no times."""

        def on_seconds(seconds: float) -> None:
            self._progress.update(bar, completed=seconds)

        sent = dict(self._fields)
        try:
            return await client.stream(server, path, sent, on_seconds)
        except client.Refused as error:
            if error.param != "timestamp_granularities" or not sent.pop(_GRANULARITIES, None):
                raise
            self._fields.pop(_GRANULARITIES, None)
            return await client.stream(server, path, sent, on_seconds)

    def _note(self, one: Recording, seconds: float) -> None:
        self._over.add(one.path)
        self.failed.discard(one.path)
        self._written += 1
        self._seconds += seconds
        for target in one.targets.values():
            print(target, flush=True)

    def _fail(self, one: Recording, why: str) -> None:
        """Tell what is wrong with a recording, once, however often it is tried."""
        if one.path not in self.failed:
            print_error(self.errors, f"{one.path}: {why}")
        self.failed.add(one.path)


def _is_for_good(error: Exception) -> bool:
    return (
        isinstance(error, client.Refused)
        and error.retry_after is None
        and error.status in _FOR_GOOD
    )


def _seconds_of(path: Path) -> float | None:
    """Return how long a recording says it is; None where nothing says so."""
    try:
        with path.open("rb") as file, open_container(file) as container:
            return container.duration / _TIME_BASE if container.duration else None
    except (OSError, RequestError, MemoryError):
        return None


class _Sound(ProgressColumn):
    """How much of a recording's sound is transcribed."""

    def render(self, task: Task) -> Text:
        whole = f" of {_clock(task.total)}" if task.total else ""
        return Text(f"{_clock(task.completed)}{whole}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), _Sound(),
        TimeRemainingColumn(),
        console=console, transient=True,
        # Standard output is the results': rich would take it for its own.
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
