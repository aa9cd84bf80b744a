"""A transcription that nobody waits for: it takes what the engine has left, and goes on where it
was broken off."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial

from app.audio.recording import RecordingFile
from app.errors import QueueFull
from app.serving.state import ModelSlot, ServedModel
from app.speech.cutting import Cutting
from app.transcription.channels import merged
from app.transcription.coalescing import Event
from app.transcription.finished import FinishedWindows
from app.transcription.pipeline import transcribe
from app.transcription.planning import Plan, plan
from app.transcription.results import Options, Transcript
from app.transcription.session import Transcriptions, count_speech

_CLIENT = "background"  # whose the decoded audio is: all recordings in the background share a bound
_LOOK_AGAIN = 2.0  # seconds, until memory for decoded audio may be free


@dataclass(frozen=True)
class Planned:
    """A decoded recording's windows, by channel. digest: changes with anything that may change what
    a window of some number is, or what is said of it."""

    channels: list[Plan]
    digest: str

    @property
    def seconds(self) -> float:
        """How long the recording lasts."""
        return self.channels[0].seconds


class BackgroundTranscriptions:
    """Transcribes recordings behind all that somebody waits for. For the event loop's thread."""

    def __init__(self, shared: Transcriptions) -> None:
        self._shared = shared
        self._preparing = asyncio.Lock()  # one at a time: most decoders are for who waits

    @contextmanager
    def held(self, planned: Planned) -> Generator[None]:
        """Count a recording's sound as held in memory while the context lasts."""
        seconds = sum(one.seconds for one in planned.channels)
        with self._shared.limit.held_audio.hold(_CLIENT, seconds):
            yield

    async def planned(
        self, recording: RecordingFile, options: Options, client: str, name: str, model: ServedModel
    ) -> Planned:
        """Decode and cut a recording, once there is memory for it. Raises the decoder's errors."""
        shared, cutting = self._shared, Cutting.of(self._shared.settings)
        slots = shared.limit.audio_decoding
        async with self._preparing:
            try:
                async with slots.slot(client, name, recording.size, behind=True):
                    waves = await shared.decoded(recording, options)
                    plans = [await plan(wave, options, cutting) for wave in waves]
            finally:
                slots.forget(client, name)
            digest = await asyncio.to_thread(_digest, plans, options, model)
            await self._room(sum(one.seconds for one in plans))
        shared.metrics.audio_received.inc(plans[0].seconds)
        return Planned(plans, digest)

    async def events(
        self,
        planned: Planned,
        options: Options,
        slot: ModelSlot,
        model: ServedModel,
        kept: Callable[[int], FinishedWindows],
        client: str,
        name: str,
    ) -> AsyncGenerator[Event]:
        """A recording's segments, then its Transcript. `kept` has what is finished of each channel.
        Raises EngineDied."""
        with slot.admission.in_background(client, name) as turn:
            heard = partial(transcribe, model.loaded, options=options, slot=turn)
            channels = [
                heard(planned=one, kept=kept(number)) for number, one in enumerate(planned.channels)
            ]
            events = merged(channels) if options.split_channels else channels[0]
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Transcript):
                        _count(event, slot)
                    yield event

    async def _room(self, seconds: float) -> None:
        """Wait until so much more decoded audio may be in memory."""
        while True:
            try:
                self._shared.limit.held_audio.check(_CLIENT, seconds, throughput=1.0)
            except QueueFull:
                await asyncio.sleep(_LOOK_AGAIN)
            else:
                return


def _count(transcript: Transcript, slot: ModelSlot) -> None:
    slot.metrics.audio_transcribed.inc(transcript.duration_s)
    if transcript.coverage:
        count_speech(transcript.coverage, slot.metrics)


def _digest(plans: Sequence[Plan], options: Options, model: ServedModel) -> str:
    """Blocking, for about a second an hour of sound."""
    checkpoint = model.checkpoint
    identity = (checkpoint.source.name, checkpoint.source.revision, checkpoint.fingerprint)
    digest = hashlib.sha256(repr((identity, options)).encode())
    for one in plans:
        digest.update(repr((one.window_seconds, one.is_searched, len(one.windows))).encode())
        for part in (part for window in one.windows for part in window.parts):
            digest.update(repr((part.offset, len(part.pcm))).encode())
            digest.update(part.pcm.tobytes())
    return digest.hexdigest()
