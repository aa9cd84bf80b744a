"""One request's way from a recording to its text: decoded, queued, transcribed, measured.

Whoever wants a transcription enters here, over HTTP or not.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

from prometheus_client import Histogram

from app.admission.arrival import Slot
from app.admission.requests import DECODES_AT_ONCE, RequestLimit
from app.audio.incoming import Follow
from app.audio.pool import DecoderPool
from app.audio.recording import RecordingFile, Selection
from app.audio.waveform import Waveform
from app.metrics import Metrics, ModelMetrics
from app.models.base import LanguageDetection
from app.serving.state import ModelSlot, ServedModel
from app.settings import Settings
from app.speech.cutting import Cutting, first_piece
from app.transcription.channels import merged
from app.transcription.coalescing import Event, InFlight
from app.transcription.coverage import Coverage
from app.transcription.language import detect
from app.transcription.pipeline import transcribe
from app.transcription.planning import Plan, Planning, plan
from app.transcription.queued import QueuedTranscription
from app.transcription.results import Options, Transcript

# From which a file is long to decode: two minutes of 16-bit WAV, and more where it is compressed.
_LONG_BYTES = 2**22
_SEARCHED_SECONDS = 600.0  # of a recording, for speech to tell its language by
_NEARLY = 0.9  # of its timeout: a client that leaves then left because of it
_numbers = itertools.count()


@dataclass(frozen=True)
class Caller:
    """Who asks, and how long they wait.

    name: one key's, where keys are asked for; else one address's. OpenAI's SDKs say of themselves
    how long they wait for an answer (timeout, seconds) and how often they have tried before
    (retries; None for other clients). Python's waits that long once all is sent, JavaScript's from
    the first byte on (while_sending).
    """

    name: str
    timeout: float | None = None
    retries: int | None = None
    while_sending: bool = False


class Telemetry(Protocol):
    """Where a request's figures go. begun: when it came, by time.perf_counter()."""

    begun: float
    facts: dict[str, Any]

    def observe(self, stage: str, seconds: float, histogram: Histogram) -> None: ...
    def record_transcribed(
        self, audio_seconds: float, seconds: float, metrics: ModelMetrics
    ) -> None: ...


@dataclass
class Transcriptions:
    """What all sessions share."""

    settings: Settings
    metrics: Metrics
    limit: RequestLimit
    in_flight: InFlight = field(default_factory=InFlight)
    decoders: DecoderPool = field(default_factory=lambda: DecoderPool(DECODES_AT_ONCE))

    async def decoded(
        self, recording: RecordingFile, options: Options, follow: Follow | None = None
    ) -> list[Waveform]:
        """Decode a recording; one waveform, which `follow` gets as it comes, or each channel's
        where that is asked for. Raises the decoder's errors."""
        file, track = recording.file, Selection(options.track)
        most = self.settings.max_audio_seconds
        if options.split_channels:
            return await self.decoders.decode_channels(file, max_seconds=most, selection=track)
        return [await self.decoders.decode(file, max_seconds=most, selection=track, follow=follow)]


@dataclass(frozen=True)
class TranscriptionSession:
    """One request, bound to one model."""

    shared: Transcriptions
    slot: ModelSlot
    model: ServedModel
    caller: Caller
    telemetry: Telemetry

    async def events(
        self, recording: RecordingFile, options: Options, *, stream: bool
    ) -> AsyncGenerator[Event]:
        """A recording's segments, then its Transcript. What is to be refused is refused before they
        are returned: raises the decoder's errors, QueueFull, DeadlineExceeded, NotReady. Closing
        them ends the work, unless it is the kind of client that tries again, and will."""
        read, caller = time.perf_counter(), self.caller
        if stream or caller.timeout is None or caller.retries is None:
            return await self._begun(recording, options, read, until=None)
        waits_from = self.telemetry.begun if caller.while_sending else read
        in_flight = self.shared.in_flight
        digest = await asyncio.to_thread(recording.digest)
        key = (caller.name, digest, options, self.slot.name, self.model.since)
        work = in_flight.find(key) if caller.retries else None
        if work is None:
            until = waits_from + caller.timeout
            work = in_flight.begin(key, await self._begun(recording, options, read, until))
        else:
            self.shared.metrics.joined.inc()
            self.telemetry.facts["joined"] = True
        timeout = caller.timeout
        return in_flight.follow(
            key,
            work,
            caller.name,
            will_return=lambda: time.perf_counter() - waits_from >= _NEARLY * timeout,
            place=partial(self.slot.admission.reserved, caller.name),
        )

    async def detection(self, recording: RecordingFile) -> LanguageDetection:
        """What the model takes the first speech for, which is looked for in a recording's first
        minutes; without a language where nobody speaks in them. Raises as `events` does."""
        read = time.perf_counter()
        (planned,) = await self._planned(recording, Options(), read, at_most=_SEARCHED_SECONDS)
        if not planned.windows:
            return LanguageDetection({}, no_speech_prob=1.0)
        window, _ = first_piece(planned.windows[0], planned.window_seconds)
        queued = self.slot.admission.queued(
            self.caller.name,
            _next_name(),
            window.duration_ms / 1000,
            held_seconds=planned.seconds,
        )
        with queued as slot:
            return await detect(self.slot.successor(self.model).loaded, window, slot)

    async def _begun(
        self, recording: RecordingFile, options: Options, read: float, until: float | None
    ) -> AsyncGenerator[Event]:
        """Decode, cut and queue a recording; return its events. `until`: when its client leaves."""
        work = partial(self._transcribed, options=options, read=read)
        queued = QueuedTranscription(self.slot.admission, self.caller.name, _next_name(), work)
        try:
            planning = Planning.of(recording, options, self._cutting, queued.look)
            plans = await self._planned(recording, options, read, planning=planning)
            events = self._told(queued.events(plans, until), read)
            await anext(events)
        except BaseException:
            await queued.stop()
            raise
        return cast("AsyncGenerator[Event]", events)

    async def _planned(
        self,
        recording: RecordingFile,
        options: Options,
        read: float,
        *,
        at_most: float | None = None,
        planning: Planning | None = None,
    ) -> list[Plan]:
        """Decode and cut, each channel by itself where that is asked for, when a slot is this
        client's; `at_most` so many seconds of it are cut. A cancellation ends the decoder at once.
        """
        shared, request = self.shared, _next_name()
        slots = shared.limit.audio_decoding
        try:
            is_long = recording.size > _LONG_BYTES
            async with slots.slot(self.caller.name, request, recording.size, is_long=is_long):
                self._observe("decode_queue", read, shared.metrics.decode_queue)
                begun = time.perf_counter()
                follow = planning.follow if planning else None
                waves = await shared.decoded(recording, options, follow)
                self._observe("decode", begun, shared.metrics.decode)
                begun = time.perf_counter()
                if planning:
                    plans = [await planning.completed(waves[0].seconds)]
                else:
                    heard = [wave.beginning(at_most) for wave in waves]
                    plans = [await plan(wave, options, self._cutting) for wave in heard]
                self._observe("vad", begun, shared.metrics.vad)
        finally:
            slots.forget(self.caller.name, request)
            if planning:
                planning.give_up()
        shared.metrics.audio_received.inc(waves[0].seconds)
        self.telemetry.facts["audio_seconds"] = round(waves[0].seconds, 3)
        return plans

    @property
    def _cutting(self) -> Cutting:
        return Cutting.of(self.shared.settings)

    async def _told(
        self, events: AsyncGenerator[Event | None], read: float
    ) -> AsyncGenerator[Event | None]:
        """The events of a queued transcription, which is measured."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Transcript):
                    self._record(event, time.perf_counter() - read)
                yield event

    def _transcribed(
        self, plans: Sequence[Plan], slot: Slot, *, options: Options, read: float
    ) -> AsyncGenerator[Event]:
        """A recording's events, or those of all its channels, which take turns by time."""
        model = self.slot.successor(self.model)  # an upload may have taken longer than its engine
        begun, metrics = time.perf_counter(), self.slot.metrics
        heard = partial(
            transcribe,
            model.loaded,
            options=options,
            on_token=_once(lambda: self._observe("first_token", read, metrics.first_token)),
            slot=_observed(slot, _once(lambda: self._observe("queue", begun, metrics.queue))),
        )
        channels = [heard(planned=one) for one in plans]
        return merged(channels) if options.split_channels else channels[0]

    def _record(self, transcript: Transcript, seconds: float) -> None:
        self.telemetry.record_transcribed(transcript.duration_s, seconds, self.slot.metrics)
        if transcript.coverage:
            self._record_speech(transcript.coverage)
        if self.shared.settings.log_transcripts:
            self.telemetry.facts["text"] = transcript.text

    def _record_speech(self, coverage: Coverage) -> None:
        """Tell what became of the recording's speech."""
        count_speech(coverage, self.slot.metrics)
        self.telemetry.facts["speech_seconds"] = coverage.speech_ms / 1000
        if coverage.dropped:
            self.telemetry.facts["speech_dropped"] = [
                f"{one.start_ms / 1000:.2f}-{one.end_ms / 1000:.2f} {one.reason}"
                for one in coverage.dropped
            ]

    def _observe(self, stage: str, since: float, histogram: Histogram) -> None:
        self.telemetry.observe(stage, time.perf_counter() - since, histogram)


def count_speech(coverage: Coverage, metrics: ModelMetrics) -> None:
    """Count what became of a recording's speech."""
    fates = {
        "told": coverage.speech_ms - coverage.dropped_ms,
        "dropped": coverage.dropped_ms,
        "decoded_again": coverage.again_ms,
    }
    for fate, ms in fates.items():
        metrics.count_speech(fate, ms / 1000)


def _next_name() -> str:
    """A name for a request in its queues: the one that its client gave it may not be its alone."""
    return str(next(_numbers))


def _once(tell: Callable[[], None]) -> Callable[[], None]:
    """A function that calls `tell` the first time it is called."""
    called = False

    def first() -> None:
        nonlocal called
        if not called:
            called = True
            tell()

    return first


def _observed(slot: Slot, on_slot: Callable[[], None]) -> Slot:
    @asynccontextmanager
    async def observed(seconds: float) -> AsyncGenerator[None]:
        async with slot(seconds):
            on_slot()
            yield

    return observed
