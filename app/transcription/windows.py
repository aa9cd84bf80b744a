"""One window's way through the decoder, as often as the policy wants it decoded."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.models.base import DecodeRequest, Segment, WindowDecoder, WindowResult
from app.transcription.policy import (
    MOST_PASSES,
    DecodeAgain,
    Verdict,
    in_language,
    judge,
    may_be_dropped,
    reaches_cut,
    repeats,
)

log = logging.getLogger(__name__)


Doubt = Callable[[WindowResult], Awaitable[str | None]]


async def _no_doubt(result: WindowResult) -> None:
    return None


@dataclass(frozen=True)
class Pass:
    """A window that a decoder got through once: its result, and what became of it. `segments` are
    those that were told of it."""

    result: WindowResult
    verdict: Verdict
    segments: tuple[Segment, ...]


async def decode_window(
    decoder: WindowDecoder,
    request: DecodeRequest,
    on_token: Callable[[], None],
    doubt: Doubt = _no_doubt,
) -> AsyncGenerator[Segment | Pass]:
    """Segments as they may leave, and a Pass for each time the window was decoded. Segments with
    words leave when their window is decoded. `doubt` gives the language that a first result should
    be in after all. What is left of a window that was cut in speech is the last Pass's to say.
    Raises EngineDied."""
    begun: Segment | None = None  # text at the end of the pass before, which this one is to redo
    pending, passes = [request], 0
    while pending:
        request, passes = pending.pop(0), passes + 1
        one = _Decoding(decoder, request, doubt)
        async with aclosing(one.segments(on_token)) as segments:
            async for segment in segments:
                yield segment
        verdict = one.verdict(last=passes >= MOST_PASSES)
        told, tail = await _finished(decoder, one.result, verdict)
        if begun and not told and not isinstance(verdict, DecodeAgain):
            told = [begun]  # what the pass before had begun to say stands
        for segment in told[one.told :]:
            yield segment
        yield Pass(one.result, verdict, tuple(told))
        begun = tail
        if isinstance(verdict, DecodeAgain) and verdict.reason != "cut_in_speech":
            pending[:0] = [verdict.request, *([verdict.then] if verdict.then else [])]
        _log(one.result, verdict)


async def _finished(
    decoder: WindowDecoder, result: WindowResult, verdict: Verdict
) -> tuple[list[Segment], Segment | None]:
    """Return the segments that are told of a window, and what it had begun to say behind them, with
    all that they are told with. Raises EngineDied."""
    tail = verdict.tail if isinstance(verdict, DecodeAgain) else None
    segments = [*verdict.segments, *([tail] if tail else [])]
    if result.request.words and segments:
        segments = list(await decoder.align(result, segments))
    told = [replace(segment, figures=result.figures) for segment in segments]
    return told, told.pop() if tail else None


def _log(result: WindowResult, verdict: Verdict) -> None:
    if isinstance(verdict, DecodeAgain):
        at_ms = verdict.request.window.start_ms
        log.info("decoding again from %d ms on: %s", at_ms, verdict.reason)
    elif result.ended == "limit":
        at = result.request.window.start_ms / 1000
        log.warning("window at %.1f s: the model wrote to its limit without an end", at)


class _Decoding:
    """One pass of the decoder over a window. told: how many closed segments have left. language:
    the one that the window is in after all, where the decoder was broken off for it."""

    def __init__(self, decoder: WindowDecoder, request: DecodeRequest, doubt: Doubt) -> None:
        self._decoder = decoder
        self._request = request
        self._doubt: Doubt | None = doubt
        self.language: str | None = None
        self.result: WindowResult
        self.looped = False
        self.told = 0

    async def segments(self, on_token: Callable[[], None]) -> AsyncGenerator[Segment]:
        """Closed segments that may leave at once. Broken off where the decoder repeats itself:
        what closed before that is believed."""
        believed: tuple[Segment, ...] = ()
        async with aclosing(self._decoder.decode_window(self._request, on_token)) as results:
            async for result in results:
                if self._doubt:
                    self.result, self.language = result, await self._doubt(result)
                    self._doubt = None
                    if self.language:
                        return
                self.looped = repeats(result)
                self.result = replace(result, closed=believed) if self.looped else result
                if self.looped:
                    return
                believed = result.closed
                if not (may_be_dropped(result) or self._request.words):
                    for segment in believed[self.told :]:
                        if reaches_cut(segment, self._request):
                            break
                        self.told += 1
                        yield segment

    def verdict(self, *, last: bool) -> Verdict:
        """What becomes of the window. `last`: it is not decoded again."""
        if self.language:
            return in_language(self.result, self.language)
        return judge(self.result, looped=self.looped, last=last)
