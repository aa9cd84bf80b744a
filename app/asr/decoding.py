"""A recording's windows, decoded together and told in order."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from app.asr.rules import WindowRules
from app.asr.segments import Decoded, segments_of
from app.asr.tokens import SpecialTokens, TextDecoder
from app.asr.transcript import Finished, Options, Segment, join
from app.audio.waveform import Waveform
from app.audio.windows import Window, cut

log = logging.getLogger(__name__)

# openai/whisper `transcribe.py`: silence is what the model calls silence and is unsure about.
_NO_SPEECH_PROB = 0.6
_NO_SPEECH_LOGPROB = -1.0


class WindowDecoder(Protocol):
    """What decodes one window: the engine."""

    async def decode(
        self, window: Window, rules: WindowRules, temperature: float, on_token: Callable[[], None]
    ) -> Decoded:
        """Raises EngineDied. Cancelling it aborts the engine's request."""
        ...


class WhisperTranscriber:
    """Implements Transcriber over a WindowDecoder. Use one per engine."""

    def __init__(
        self,
        decoder: WindowDecoder,
        tokens: SpecialTokens,
        text_of: TextDecoder,
        *,
        window_seconds: float,
        in_flight: int,
    ) -> None:
        """`in_flight` bounds how many windows of one recording are in the engine at once."""
        self._decoder = decoder
        self._tokens = tokens
        self._text_of = text_of
        self._window_seconds = window_seconds
        self._in_flight = in_flight

    def languages(self) -> frozenset[str]:
        return frozenset(self._tokens.languages or {"en"})

    async def transcribe(
        self, wave: Waveform, options: Options, on_token: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Segment | Finished]:
        windows = await asyncio.to_thread(lambda: list(cut(wave, self._window_seconds)))
        heard: defaultdict[str, float] = defaultdict(float)
        segments: list[Segment] = []
        async with aclosing(self._decode_all(windows, options, on_token)) as results:
            async for window, decoded in results:
                for language, probability in decoded.languages.items():
                    heard[language] += probability * (1 - decoded.no_speech_prob)
                for segment in self._segments(window, decoded):
                    segments.append(segment)
                    yield segment
        language = options.language or (max(heard, key=lambda code: heard[code], default="en"))
        text = join([segment.text for segment in segments])
        yield Finished(language, wave.seconds, text, tuple(segments))

    async def _decode_all(
        self, windows: list[Window], options: Options, on_token: Callable[[], None]
    ) -> AsyncGenerator[tuple[Window, Decoded]]:
        """All windows in flight together, their results in order."""
        gate = asyncio.Semaphore(self._in_flight)
        rules = WindowRules(language=options.language if self._tokens.languages else None)

        async def decode(window: Window) -> Decoded:
            async with gate:
                return await self._decoder.decode(window, rules, options.temperature, on_token)

        tasks = [asyncio.create_task(decode(window)) for window in windows]
        try:
            for window, task in zip(windows, tasks, strict=True):
                yield window, await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _segments(self, window: Window, decoded: Decoded) -> list[Segment]:
        silent = decoded.no_speech_prob > _NO_SPEECH_PROB
        if silent and decoded.avg_logprob < _NO_SPEECH_LOGPROB:
            return []
        if not decoded.complete:
            log.warning(
                "window at %.1f s: the model wrote up to its token limit without an end",
                window.start_ms / 1000,
            )
        return segments_of(decoded, window, self._tokens, self._text_of)
