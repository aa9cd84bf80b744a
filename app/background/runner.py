"""One job's work: from the kept recording to its transcript, over as many engines as it takes."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from app.audio.recording import RecordingFile
from app.background.job import Progress, TranscriptionJob
from app.background.live import Live
from app.background.store import Store
from app.background.window_log import Place, WindowLog
from app.errors import MarlinscribeError, Unavailable, UnknownModel
from app.files import is_full
from app.metrics import Metrics
from app.process import run_shielded
from app.serving.state import ModelSlot, ServedModel, ServiceState
from app.transcription.background import BackgroundTranscriptions, Planned
from app.transcription.results import Transcript

log = logging.getLogger(__name__)

# Begun so often without a window finished: the recording may be what ends the engine or the server.
MOST_TRIES = 5
_LONGEST_PAUSE = 5.0  # seconds, between two looks whether a model serves


class Runner:
    """Does jobs. For the event loop's thread."""

    def __init__(
        self, state: ServiceState, transcriptions: BackgroundTranscriptions, store: Store,
        metrics: Metrics, pause_seconds: float,
    ) -> None:  # fmt: skip
        """`pause_seconds` lie between two tries."""
        self._state = state
        self._transcriptions = transcriptions
        self._store = store
        self._metrics = metrics
        self._pause = pause_seconds

    async def run(self, job: TranscriptionJob, live: Live) -> Transcript:
        """Transcribe a job's recording; begin again where the engine dies, where another checkpoint
        takes its place, and where the disk is full. Raises what cannot be helped by that, and what
        was in the way MOST_TRIES times."""
        while True:
            model = await _serving(self._slot(job))
            windows = self._windows(job)
            try:
                await self._begin(job, windows)
                return await self._transcribed(job, live, model, windows)
            except (Unavailable, OSError) as error:
                log.warning("job %s: %s", job.id, error)
                if is_full(error):
                    job.tries = max(0, job.tries - 1)  # which is no fault of the recording
                elif job.tries >= MOST_TRIES:
                    raise
                await asyncio.sleep(self._pause)

    def _slot(self, job: TranscriptionJob) -> ModelSlot:
        try:
            return self._state.slots[job.ask.model]
        except KeyError:
            message = f"The model {job.ask.model!r} is not served any more."
            raise UnknownModel(message, param="model") from None

    def _windows(self, job: TranscriptionJob) -> WindowLog:
        windows = WindowLog(self._store.windows(job.id), self._store.writer)
        windows.listen(lambda _: self._metrics.background.windows_kept.inc())
        return windows

    async def _begin(self, job: TranscriptionJob, windows: WindowLog) -> None:
        """Count a try; the first one since a window was finished is a first."""
        await asyncio.to_thread(windows.read)
        if len(windows) > job.windows:
            job.tries = 0
        if job.tries >= MOST_TRIES:  # none of which came to an end that this process could tell
            raise MarlinscribeError(
                f"The server ended {job.tries} times while it worked on this recording.",
                code="job_given_up",
            )
        job.tries, job.windows = job.tries + 1, len(windows)
        await run_shielded(self._store.save, job)

    async def _transcribed(
        self, job: TranscriptionJob, live: Live, model: ServedModel, windows: WindowLog
    ) -> Transcript:
        ask, work = job.ask, self._transcriptions
        async with _opened(self._store.recording(job.id)) as recording:
            planned = await work.planned(recording, ask.options, ask.owner, job.id, model)
        with work.held(planned):
            await run_shielded(windows.begin, planned.digest)
            _Meter(job, live, planned, windows)
            live.begin()
            events = work.events(
                planned, ask.options, self._slot(job), model,
                windows.of_channel, ask.owner, job.id,
            )  # fmt: skip
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Transcript):
                        return event
                    live.segment(event)
        raise AssertionError("a transcription ends with its Transcript")


class _Meter:
    """Tells how far a job is, each time that a window is finished."""

    def __init__(
        self, job: TranscriptionJob, live: Live, planned: Planned, windows: WindowLog
    ) -> None:
        self._job, self._live, self._planned = job, live, planned
        self._begun = time.monotonic()
        # Milliseconds, which add up to the whole exactly.
        self._whole = sum(w.duration_ms for one in planned.channels for w in one.windows)
        self._before = sum(map(self._length, windows.places))
        self._done = self._before
        self._tell()
        windows.listen(self._on_kept)

    def _on_kept(self, place: Place) -> None:
        self._done += self._length(place)
        self._tell()

    def _length(self, place: Place) -> int:
        channel, number = place
        return self._planned.channels[channel].windows[number].duration_ms

    def _tell(self) -> None:
        """What is silent counts as done with what is said."""
        whole = self._planned.seconds
        share = self._done / self._whole if self._whole else 1.0
        progress = Progress(round(whole * share, 3), round(whole, 3), self._eta())
        self._job.progress = progress
        self._live.progress(progress)

    def _eta(self) -> float | None:
        worked, left = self._done - self._before, self._whole - self._done
        if worked <= 0:
            return None
        return round(left * (time.monotonic() - self._begun) / worked, 1)


def waiting_again(job: TranscriptionJob) -> None:
    """Have a job that is broken off say nothing of an end that nobody can tell."""
    job.progress = replace(job.progress, eta_seconds=None)


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[RecordingFile]:
    with ExitStack() as stack:  # holds the file also where a cancellation comes while it is opened
        yield RecordingFile(await run_shielded(lambda: stack.enter_context(path.open("rb"))))


async def _serving(slot: ModelSlot) -> ServedModel:
    """Wait until a model serves, and have an idle one wake up."""
    while True:
        try:
            await slot.wait_short()
            return slot.ready()
        except Unavailable as error:
            await asyncio.sleep(min(error.retry_after or _LONGEST_PAUSE, _LONGEST_PAUSE))
