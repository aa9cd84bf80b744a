"""What is done to every segment before a policy or a client sees it: its script, and its times."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from app.models.base import DecodeRequest, Segment, WindowDecoder, WindowResult
from app.transcription.script import Script, written_in
from app.transcription.times import clipped
from app.transcription.words import told_words


class PostProcessed:
    """Implements app.models.base.WindowDecoder over another."""

    def __init__(self, decoder: WindowDecoder, script: Script | None) -> None:
        self._decoder = decoder
        self._script = script
        self.capabilities = decoder.capabilities

    async def decode_window(
        self, request: DecodeRequest, on_token: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[WindowResult]:
        async with aclosing(self._decoder.decode_window(request, on_token)) as results:
            async for result in results:
                yield self._processed(result)

    async def align(self, result: WindowResult, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        found = await self._decoder.align(result, segments)
        return tuple(told_words(segment, result.request.window) for segment in found)

    async def warm_up(self) -> None:
        await self._decoder.warm_up()

    def _processed(self, result: WindowResult) -> WindowResult:
        is_chinese, window = _is_chinese(result), result.request.window

        told, end_ms = list[Segment](), window.start_ms
        for segment in (*result.closed, *((result.tail,) if result.tail else ())):
            text = written_in(segment.text, self._script) if is_chinese else segment.text
            told.append(clipped(replace(segment, text=text), window, end_ms))
            end_ms = told[-1].end_ms
        tail = told.pop() if result.tail else None
        return replace(result, closed=tuple(told), tail=tail)


def _is_chinese(result: WindowResult) -> bool:
    """Whether a window's text is in Mandarin: what is asked for, or what the model hears."""
    if result.request.translate:
        return False
    asked, heard = result.request.languages, result.detection.languages
    if len(asked) == 1:
        return asked[0] == "zh"
    return max(heard, key=heard.__getitem__, default="") == "zh"
