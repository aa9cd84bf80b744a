"""From an upload to its events: decoded, let in, heard, and measured on the way."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from fastapi import Request
from starlette.types import Receive

from app.api.caller import Caller
from app.api.disconnect import unless_client_leaves
from app.api.telemetry import RequestTelemetry
from app.api.uploads import Upload, read_upload
from app.audio.decode import decode
from app.audio.waveform import Waveform
from app.serving.state import Context, ServedModel
from app.transcription.coalescing import Event
from app.transcription.results import Options, Transcript, Turn

_NEARLY = 0.9  # of its patience: a client that leaves then left because of it
_numbers = itertools.count()


@dataclass(frozen=True)
class TranscriptionSession:
    """One request's way to its text."""

    context: Context
    served: ServedModel
    caller: Caller
    account: RequestTelemetry

    @asynccontextmanager
    async def upload(self, request: Request) -> AsyncGenerator[Upload]:
        """The form that is sent; see read_upload."""
        with ExitStack() as stack:
            if self.caller.retries:
                stack.enter_context(self.context.works.returning(self.caller.name))
            begun = time.perf_counter()
            receiving = stack.enter_context(
                self.context.admission.uploads.receiving(self.caller.name)
            )
            async with read_upload(request, self.context.settings, receiving) as upload:
                self._took("upload", begun)
                yield upload

    async def events(
        self, receive: Receive, upload: Upload, options: Options, *, stream: bool
    ) -> AsyncGenerator[Event]:
        """A recording's. What is to be refused is refused before they are returned: raises the
        decoder's errors, QueueFull, DeadlineExceeded, ClientLeft, NotReady. Closing them ends the
        work, unless it is the kind of client that tries again, and will."""
        read = time.perf_counter()
        name, patience = self.caller.name, self.caller.patience
        if stream or patience is None or self.caller.retries is None:
            wave = await unless_client_leaves(receive, self._decoded(upload, read))
            return await self._let_in(wave, options, read, until=None)
        waits_from = self.account.begun if self.caller.while_sending else read
        works = self.context.works
        key = (name, await asyncio.to_thread(upload.digest), options, self.served.since)
        work = works.find(key) if self.caller.retries else None
        if work is None:
            wave = await unless_client_leaves(receive, self._decoded(upload, read))
            until = waits_from + patience
            work = works.begin(key, await self._let_in(wave, options, read, until))
        else:
            self.context.metrics.joined.inc()
            self.account.facts["joined"] = True
        return works.follow(
            key,
            work,
            name,
            will_return=lambda: time.perf_counter() - waits_from >= _NEARLY * patience,
            place=partial(self.context.admission.kept, name),
        )

    async def _decoded(self, upload: Upload, read: float) -> Waveform:
        """In a thread, when it is this client's turn. One that leaves stops it at the next frame;
        it is waited for, since the file is closed behind it."""
        cancelled = threading.Event()
        most = self.context.settings.max_audio_seconds

        def work() -> Waveform:
            with self.account.stage("decode"):
                return decode(upload.file, max_seconds=most, cancelled=cancelled)

        turns, request = self.context.admission.decodings, _next_name()
        try:
            async with turns.turn(self.caller.name, request, upload.size):
                self._took("decode_queue", read)
                done = asyncio.wrap_future(self.context.decoders.submit(work))
                try:
                    wave = await asyncio.shield(done)
                except asyncio.CancelledError:
                    cancelled.set()
                    with suppress(Exception):
                        await done
                    raise
        finally:
            turns.forget(self.caller.name, request)
        self.context.metrics.audio_received.inc(wave.seconds)
        self.account.facts["audio_seconds"] = round(wave.seconds, 3)
        return wave

    async def _let_in(
        self, wave: Waveform, options: Options, read: float, until: float | None
    ) -> AsyncGenerator[Event]:
        heard = self._heard(wave, options, read, until)
        await anext(heard)
        return cast("AsyncGenerator[Event]", heard)

    async def _heard(
        self, wave: Waveform, options: Options, read: float, until: float | None
    ) -> AsyncGenerator[Event | None]:
        """None once there is a place in line, then the transcriber's events. `until`: when its
        client gives up."""
        served = self.context.still_serves()  # an upload may have taken longer than an engine lives
        decoded = time.perf_counter()
        left = None if until is None else until - decoded
        admission = self.context.admission
        with admission.queued(self.caller.name, _next_name(), wave.seconds, left) as turn:
            yield None
            events = served.transcriber.transcribe(
                wave,
                options,
                on_token=_once(lambda: self._took("first_token", read)),
                turn=_telling(turn, _once(lambda: self._took("queue", decoded))),
            )
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Transcript):
                        self.account.told(event.duration_s, time.perf_counter() - read)
                        if self.context.settings.log_transcripts:
                            self.account.facts["text"] = event.text
                    yield event

    def _took(self, stage: str, since: float) -> None:
        self.account.took(stage, time.perf_counter() - since)


def _next_name() -> str:
    """A request's in its lines: the client's own name for it may not be its alone."""
    return str(next(_numbers))


def _once(tell: Callable[[], None]) -> Callable[[], None]:
    """The first of several calls."""
    told = False

    def first() -> None:
        nonlocal told
        if not told:
            told = True
            tell()

    return first


def _telling(turn: Turn, on_turn: Callable[[], None]) -> Turn:
    @asynccontextmanager
    async def told(seconds: float) -> AsyncGenerator[None]:
        async with turn(seconds):
            on_turn()
            yield

    return told
