"""A recording's windows, decoded together and told in order."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from app.audio.waveform import Waveform
from app.models.base import Segment, SegmentEvent
from app.models.whisper_vllm.decoder import (
    DecodeRequest,
    Heard,
    LanguageDetection,
    Listener,
    WindowDecoder,
)
from app.models.whisper_vllm.prompt import prompt_ids
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window, cut
from app.transcription.results import Options, Transcript, Turn, join

_Event = SegmentEvent | Heard


class WhisperTranscriber:
    """Implements Transcriber over a WindowDecoder. Use one per engine."""

    def __init__(
        self,
        decoder: WindowDecoder,
        tokens: SpecialTokens,
        text: TextCodec,
        *,
        window_seconds: float,
        in_flight: int,
    ) -> None:
        """`in_flight` bounds how many windows of a recording are in the engine at once where
        nobody gives turns."""
        self._listener = Listener(decoder, tokens, text)
        self._tokens = tokens
        self._text = text
        self._window_seconds = window_seconds
        self._in_flight = in_flight

    def languages(self) -> frozenset[str]:
        return frozenset(self._tokens.languages or {"en"})

    async def transcribe(
        self,
        wave: Waveform,
        options: Options,
        on_token: Callable[[], None] = lambda: None,
        turn: Turn | None = None,
    ) -> AsyncGenerator[SegmentEvent | Transcript]:
        windows = await self._cut(wave)
        impressions: list[LanguageDetection] = []
        segments: list[Segment] = []
        gate = asyncio.Semaphore(self._in_flight)
        hearing = self._hear_all(windows, options, on_token, turn or (lambda _: gate))
        async with aclosing(hearing) as events:
            async for event in events:
                if isinstance(event, Heard):
                    impressions.append(event.first)
                    segments += event.segments
                else:
                    yield event
        yield Transcript(
            _language(options, impressions),
            wave.seconds,
            join(segment.spoken.text for segment in segments),
            tuple(segments),
            translated=options.translate,
        )

    async def _cut(self, wave: Waveform) -> list[Window]:
        """In a thread where there is something to search: hours of it take a while."""
        if wave.seconds <= self._window_seconds:
            return [Window(0, wave.samples)]
        return await asyncio.to_thread(lambda: list(cut(wave, self._window_seconds)))

    async def _hear_all(
        self, windows: list[Window], options: Options, on_token: Callable[[], None], turn: Turn
    ) -> AsyncGenerator[_Event]:
        """All windows in flight together; what each has to tell waits for those before it."""
        queues: list[asyncio.Queue[_Event | Exception | None]] = [asyncio.Queue() for _ in windows]

        async def hear(ask: DecodeRequest, queue: asyncio.Queue[_Event | Exception | None]) -> None:
            try:
                hearing = aclosing(self._listener.hear(ask, on_token))
                async with turn(ask.window.duration_ms / 1000), hearing as events:
                    async for event in events:
                        queue.put_nowait(event)
                queue.put_nowait(None)
            except Exception as error:  # raised where the windows are told
                queue.put_nowait(error)

        asks = self._asks(windows, options)
        tasks = [
            asyncio.create_task(hear(ask, queue)) for ask, queue in zip(asks, queues, strict=True)
        ]
        try:
            for queue in queues:
                while (event := await queue.get()) is not None:
                    if isinstance(event, Exception):
                        raise event
                    yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _asks(self, windows: list[Window], options: Options) -> list[DecodeRequest]:
        """Every window gets the prompt: names and spellings hold for the whole recording."""
        prompt = prompt_ids(self._tokens, self._text, options.prompt, options.keywords)
        rules = WindowRules(
            languages=options.languages if self._tokens.languages else (),
            translate=options.translate,
        )
        return [
            DecodeRequest(w, rules, prompt, options.temperature, options.logprobs) for w in windows
        ]


def _language(options: Options, impressions: list[LanguageDetection]) -> str:
    """What most of the speech is in; windows without speech have no say."""
    if len(options.languages) == 1:
        return options.languages[0]
    heard: defaultdict[str, float] = defaultdict(float)
    for impression in impressions:
        for language, probability in impression.languages.items():
            heard[language] += probability * (1 - impression.no_speech_prob)
    return max(heard, key=lambda code: heard[code], default="en")
