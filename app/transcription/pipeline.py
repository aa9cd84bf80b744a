"""A recording's windows, decoded together and told in order."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from app.admission.arrival import Slot
from app.audio.waveform import Waveform
from app.models.base import DecodeRequest, LoadedModel, Segment
from app.speech.cutting import Cutting, first_piece
from app.speech.windows import Window
from app.transcription.coverage import summed
from app.transcription.finished import FinishedWindow, FinishedWindows, NoneKept
from app.transcription.language import RecordingLanguage
from app.transcription.planning import Plan, plan
from app.transcription.policy import DecodeAgain
from app.transcription.postprocessing import PostProcessed
from app.transcription.results import Options, Transcript, join
from app.transcription.script import load
from app.transcription.windows import Pass, decode_window
from app.transcription.words import InOrder

# Windows of a recording in an engine at once, by its slots, where nobody gives slots: twice keeps
# the engine busy while results are put together.
_IN_FLIGHT = 2

_Event = Segment | FinishedWindow
_Queue = asyncio.Queue[_Event | Exception | None]


async def transcribe(
    model: LoadedModel,
    planned: Plan,
    options: Options,
    *,
    on_token: Callable[[], None] = lambda: None,
    slot: Slot | None = None,
    kept: FinishedWindows | None = None,
) -> AsyncGenerator[Segment | Transcript]:
    """Segments in order, each as soon as it closes, then one Transcript. Windows that the plan gets
    meanwhile are decoded as they come.

    `on_token` is called as tokens of any window arrive, for latency figures. Without `slot` a
    recording's windows share the engine with nobody else's. Windows that are `kept` are told and
    not decoded. Closing the generator aborts what is still being decoded. Raises EngineDied.
    """
    if options.script:
        await asyncio.to_thread(load, options.script)
    finished: list[FinishedWindow] = []
    in_order = InOrder()
    gate = asyncio.Semaphore(_IN_FLIGHT * model.slots)
    decoding = _Decoding(
        model, planned, options, on_token, slot or (lambda _: gate), kept or NoneKept()
    )
    async with aclosing(decoding.events()) as events:
        async for event in events:
            if isinstance(event, FinishedWindow):
                finished.append(event)
            else:
                yield in_order.told(event)
    yield _joined(planned, options, finished)


def _joined(planned: Plan, options: Options, finished: Sequence[FinishedWindow]) -> Transcript:
    """Return the transcript of all windows."""
    in_order = InOrder()
    segments = tuple(in_order.told(segment) for one in finished for segment in one.segments)
    return Transcript(
        _language(options, finished),
        planned.seconds,
        join(segment.text for segment in segments),
        segments,
        translated=options.translate,
        coverage=summed(one.coverage for one in finished) if planned.is_searched else None,
    )


async def transcript(
    model: LoadedModel, wave: Waveform, options: Options, *, cutting: Cutting
) -> Transcript:
    """The whole of a recording at once. Raises EngineDied."""
    return await last(transcribe(model, await plan(wave, options, cutting), options))


async def last(events: AsyncGenerator[Segment | Transcript]) -> Transcript:
    """The Transcript that a transcription's events end with."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Transcript):
                return event
    raise AssertionError("a transcription ends with its Transcript")


class _Decoding:
    """Decodes a plan's windows, all in flight together; what each has to tell waits for those
    before it."""

    def __init__(
        self,
        model: LoadedModel,
        planned: Plan,
        options: Options,
        on_token: Callable[[], None],
        slot: Slot,
        kept: FinishedWindows,
    ) -> None:
        self._decoder = PostProcessed(model.decoder, options.script)
        self._planned, self._options = planned, options
        self._on_token = on_token
        self._slot = slot
        self._kept = kept
        self._language = RecordingLanguage()
        self._queues: asyncio.Queue[_Queue | None] = asyncio.Queue()  # of each window, in order
        self._tasks: list[asyncio.Task[None]] = []

    async def events(self) -> AsyncGenerator[_Event]:
        """All that the windows have to tell. Raises what goes wrong with one."""
        starting = asyncio.create_task(self._start_all())
        try:
            while (queue := await self._queues.get()) is not None:
                while (event := await queue.get()) is not None:
                    if isinstance(event, Exception):
                        raise event
                    yield event
            await starting
        finally:
            for task in (starting, *self._tasks):
                task.cancel()
            await asyncio.gather(starting, *self._tasks, return_exceptions=True)

    async def _start_all(self) -> None:
        """Start windows as the plan gets them."""
        number = 0
        try:
            async with aclosing(self._planned.follow()) as windows:
                async for window in windows:
                    queue: _Queue = asyncio.Queue()
                    self._queues.put_nowait(queue)
                    self._start(number, window, queue)
                    number += 1
        finally:
            self._queues.put_nowait(None)

    def _start(self, number: int, window: Window, queue: _Queue) -> None:
        """Queue what was finished before, as if it had been decoded now; decode what was not."""
        if finished := self._kept.find(number):
            self._language.add_finished(number, finished.detected)
            for event in (*finished.segments, finished, None):
                queue.put_nowait(event)
        else:
            self._tasks.append(asyncio.create_task(self._decode(number, window, queue)))

    async def _decode(self, number: int, window: Window, queue: _Queue) -> None:
        left: Window | None = window
        passes: list[Pass] = []
        try:
            while left:
                piece, rest = first_piece(left, self._planned.window_seconds)
                request = replace(_request(piece, self._options), is_cut=rest is not None)
                doubt = partial(self._language.of_window, number, is_rest=left is not window)
                decoding = aclosing(decode_window(self._decoder, request, self._on_token, doubt))
                async with self._slot(piece.duration_ms / 1000), decoding as events:
                    async for event in events:
                        if isinstance(event, Segment):
                            queue.put_nowait(event)
                        else:
                            passes.append(event)
                left = _left(passes[-1], rest)
            finished = FinishedWindow.of(window, passes)
            self._kept.keep(number, finished)
            queue.put_nowait(finished)
            queue.put_nowait(None)
        except Exception as error:  # raised where the windows are told
            queue.put_nowait(error)
        finally:
            self._language.give_up(number)


def _left(last: Pass, rest: Window | None) -> Window | None:
    """Return what is still to be decoded of a window of which a piece was, by its last pass."""
    if rest is None or not isinstance(last.verdict, DecodeAgain):
        return rest
    return last.verdict.request.window.followed_by(rest)


def _request(window: Window, options: Options) -> DecodeRequest:
    """Every window gets the prompt: names and spellings hold for the whole recording."""
    return DecodeRequest(
        window,
        languages=options.languages,
        translate=options.translate,
        prompt=options.prompt,
        keywords=options.keywords,
        temperature=options.temperature,
        fallback=options.fallback and options.temperature == 0,
        logprobs=options.logprobs,
        words=options.words,
    )


def _language(options: Options, finished: Sequence[FinishedWindow]) -> str:
    """What most of the speech is in; windows without speech have no say."""
    if len(options.languages) == 1:
        return options.languages[0]
    spoken: defaultdict[str, float] = defaultdict(float)
    for detected in (one for window in finished for one in window.detected):
        for language, probability in detected.languages.items():
            spoken[language] += probability * (1 - detected.no_speech_prob)
    return max(spoken, key=spoken.__getitem__, default="en")
