"""One batch's work: a few of its lines at a time as jobs, until each has a result or an error."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from app.background.batch import Batch
from app.background.batch_lines import custom_id_of, lines_of, read_line
from app.background.batch_results import Entry, Results, failed, succeeded
from app.background.files import Files
from app.background.job import Ask, Status, TranscriptionJob, error_of
from app.background.service import BackgroundJobs
from app.background.sources import SOURCES, recording_of
from app.errors import JobsFull, RequestError, Unavailable
from app.process import run_shielded
from app.settings import Settings
from app.transcription.results import Transcript

_SPARE = 2  # jobs of a batch at once, by those that run: the next ones are at hand
_ROOM_SECONDS = 2.0  # until there may be room for another job


class Reader(Protocol):
    """Reads what a line asks, and renders its result: what a form and an answer are elsewhere."""

    def ask(self, owner: str, body: Mapping[str, Any]) -> Ask:
        """Raises RequestError; NotReady where nobody can say yet what the model knows."""
        ...

    def rendered(self, ask: Ask, transcript: Transcript) -> Any:
        """Return a result's body."""
        ...


class BatchWork:
    """Does the lines of one batch. For the event loop's thread."""

    def __init__(
        self, batch: Batch, path: Path, results: Results, jobs: BackgroundJobs, files: Files,
        reader: Reader, settings: Settings,
    ) -> None:  # fmt: skip
        self._batch, self._path, self._results = batch, path, results
        self._jobs, self._files, self._reader = jobs, files, reader
        self._settings = settings
        self._places = asyncio.Semaphore(_SPARE * settings.background_running)
        self._adding = asyncio.Lock()
        self._begun = jobs.of_batch(batch.id)

    async def run(self) -> None:
        """Do all lines that have no result yet. A cancellation leaves their jobs as they are.
        Raises OSError."""
        with closing(lines_of(self._path)) as lines:
            await self._all(lines)

    async def _all(self, lines: Iterator[bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            number = 0
            while (line := await run_shielded(next, lines, None)) is not None:
                if number not in self._results.known:
                    await self._places.acquire()
                    group.create_task(self._placed(number, line))
                elif number in self._begun:  # killed between a result and the job's end
                    await self._jobs.remove(self._begun[number])
                number += 1

    async def _placed(self, number: int, line: bytes) -> None:
        try:
            await self._do(number, line)
        finally:
            self._places.release()

    async def _do(self, number: int, line: bytes) -> None:
        custom_id, job = await asyncio.to_thread(custom_id_of, line), self._begun.get(number)
        try:
            job = job or await self._submitted(number, line)
            await self._jobs.over(job)
            entry = await self._entry(job, custom_id)
        except RequestError as error:
            entry = failed(custom_id, error_of(error), error.status)
        await self._add(number, entry)
        if job:
            await self._jobs.remove(job)

    async def _submitted(self, number: int, line: bytes) -> TranscriptionJob:
        """Begin a line's job, as soon as there is room for it. Raises RequestError."""
        asked = (await asyncio.to_thread(read_line, line)).body
        fields = {name: value for name, value in asked.items() if name not in SOURCES}
        while True:
            try:
                ask = self._reader.ask(self._batch.owner, fields)
                found = recording_of(self._files, self._settings, self._batch.owner, asked)
                async with found as (recording, name):
                    mine = replace(ask, batch=self._batch.id, line=number, filename=name)
                    return await self._jobs.submit(mine, recording)
            except (JobsFull, Unavailable):
                await asyncio.sleep(_ROOM_SECONDS)

    async def _entry(self, job: TranscriptionJob, custom_id: str | None) -> Entry:
        """Return what a job that is over came to. Raises UnknownJob where it was deleted."""
        if job.status is Status.FAILED and job.error:
            is_clients = job.error["type"] == RequestError.kind
            return failed(custom_id, job.error, 400 if is_clients else 500)
        transcript = await self._jobs.transcript(job.ask.owner, job.id)
        return succeeded(custom_id, self._reader.rendered(job.ask, transcript))

    async def _add(self, number: int, entry: Entry) -> None:
        async with self._adding:
            await run_shielded(self._results.add, [(number, entry)])
        self._batch.completed, self._batch.failed = self._results.counts
