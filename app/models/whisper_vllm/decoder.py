"""One window, heard to its end: steps of the decoder to segments, and what is known of it."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from app.models.base import Segment, SegmentEvent, WindowFigures
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.segments import Segmenter, compression_ratio
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window

log = logging.getLogger(__name__)

# openai/whisper `transcribe.py`: silence is what the model calls silence and is unsure about.
_NO_SPEECH_PROB = 0.6
_NO_SPEECH_LOGPROB = -1.0
# Ibid.: text that zlib shrinks this much repeats itself.
_LOOP_RATIO = 2.4
# A model that runs out of room says more than is spoken (a loop) oftener than it has more to say.
_MOST_PASSES = 4
_LEAST_REST_MS = 500  # less than this behind the last closed segment is not worth a pass


@dataclass(frozen=True)
class DecodeRequest:
    """What the decoder is asked. `prompt` is what it reads first, <|startoftranscript|> last."""

    window: Window
    rules: WindowRules
    prompt: tuple[int, ...]
    temperature: float = 0.0
    logprobs: bool = False


@dataclass(frozen=True)
class LanguageDetection:
    """The decoder's first step. languages: ISO code to probability, of the languages that were
    candidates; sums to 1, or is empty for an English-only checkpoint."""

    languages: dict[str, float]
    no_speech_prob: float


@dataclass(frozen=True)
class Step:
    """What newly came of a window.

    sampled: ids and raw log-probabilities, without the forced steps; the end of text included.
    first: with the first step alone. ended: None while there is more to come; "limit" where
    the decoder had no more room.
    """

    sampled: tuple[tuple[int, float], ...]
    first: LanguageDetection | None = None
    ended: Literal["text", "limit"] | None = None


@dataclass(frozen=True)
class Heard:
    """A window, or the part of one that a pass got through, when it is done."""

    first: LanguageDetection
    segments: tuple[Segment, ...]


class WindowDecoder(Protocol):
    """What decodes one window: the engine."""

    def decode(self, ask: DecodeRequest) -> AsyncGenerator[Step]:
        """Raises EngineDied. Closing it aborts the engine's request."""
        ...


class Listener:
    """Hears windows through a decoder."""

    def __init__(self, decoder: WindowDecoder, tokens: SpecialTokens, text: TextCodec) -> None:
        self._decoder = decoder
        self._tokens = tokens
        self._text = text

    async def hear(
        self, ask: DecodeRequest, on_token: Callable[[], None]
    ) -> AsyncGenerator[SegmentEvent | Heard]:
        """Segments as they close, a Heard behind those of each pass.

        Where the decoder runs out of room, another pass begins behind the last closed segment,
        so that nothing said is lost; and so it does where a prompted decoder ends while there is
        still something to be heard, or begins to repeat itself, as prompts make decoders do. That
        pass has no prompt: it takes room, and may be why.
        """
        before: _Pass | None = None
        for left in reversed(range(_MOST_PASSES)):
            one = _Pass(ask, self._tokens, self._text)
            async with aclosing(self._decoder.decode(ask)) as steps:
                async for step in steps:
                    on_token()
                    for event in one.take(step):
                        yield event
                    if one.loops:
                        break
            rest = one.rest(may_go_on=left > 0)
            for event in one.finish(keep_tail=rest is None):
                yield event
            if before is not None:
                # What this pass was to say better, the one before had begun to say.
                for event in before.finish(keep_tail=rest is None and not one.said):
                    yield event
                yield before.heard()
            if rest is None:
                yield one.heard()
                return
            log.info("the decoder ended before the window did: going on at %d ms", rest.start_ms)
            before, ask = one, replace(ask, window=rest, prompt=(self._tokens.start,))


@dataclass
class _Pass:
    """What has come of one request to the decoder."""

    ask: DecodeRequest
    tokens: SpecialTokens
    text: TextCodec
    _first: LanguageDetection | None = None
    _ended: Literal["text", "limit"] | None = None
    _ids: list[int] = field(default_factory=list)
    _logprobs: list[float] = field(default_factory=list)
    _events: list[SegmentEvent] = field(default_factory=list)
    _told: int = 0  # how many of _events have left
    loops: bool = False  # behind a prompt; what has been told is whole, the rest is not believed

    def __post_init__(self) -> None:
        content = self.text.content if self.ask.logprobs else None
        self._segmenter = Segmenter(self.ask.window, self.tokens, self.text.decode, content)

    def take(self, step: Step) -> list[SegmentEvent]:
        """The segments that may leave now: none while the window may turn out to be silence."""
        self._first = self._first or step.first
        self._ended = step.ended
        self._logprobs += [logprob for _, logprob in step.sampled]
        spoken = [(i, p) for i, p in step.sampled if i != self.tokens.end_of_text]
        self._ids += [i for i, _ in spoken]
        closed = self._segmenter.feed(spoken)
        if self._prompted and (closed or step.ended):
            self.loops = compression_ratio(self.text.decode(self._ids)) > _LOOP_RATIO
        if not self.loops:
            self._events += closed
        return [] if self._doubtful else self._untold()

    def rest(self, *, may_go_on: bool) -> Window | None:
        """What a further pass should hear: None where all is said, or where it would not help."""
        window, begun = self.ask.window, 0 if self._silent else self._closed_ms
        if not may_go_on:
            return None
        if self._silent or (self._ended == "text" and not self.loops):
            told_to_the_end = self._segmenter.is_open and not self._silent
            if not self._prompted or told_to_the_end or not window.is_heard_after(begun):
                return None
        if begun == 0:
            return window if self._prompted else None
        return window.after(begun) if window.duration_ms - begun >= _LEAST_REST_MS else None

    def finish(self, *, keep_tail: bool) -> list[SegmentEvent]:
        """The segments that had to wait for the window's end."""
        if keep_tail and not self.loops:
            self._events += self._segmenter.tail()
            if self._ended == "limit":
                at = self.ask.window.start_ms / 1000
                log.warning("window at %.1f s: the model wrote to its limit without an end", at)
        if self._silent:
            self._events = []
        return self._untold()

    @property
    def said(self) -> bool:
        return bool(self._events)

    @property
    def _prompted(self) -> bool:
        return len(self.ask.prompt) > 1

    @property
    def _closed_ms(self) -> int:
        """Where what is believed ends, from the window's start."""
        return self._events[-1].end_ms - self.ask.window.start_ms if self._events else 0

    def heard(self) -> Heard:
        figures = WindowFigures(
            start_ms=self.ask.window.start_ms,
            temperature=self.ask.temperature,
            avg_logprob=self._avg_logprob,
            compression_ratio=compression_ratio(self.text.decode(self._ids)),
            no_speech_prob=self._impression.no_speech_prob,
        )
        return Heard(self._impression, tuple(Segment(event, figures) for event in self._events))

    def _untold(self) -> list[SegmentEvent]:
        new = self._events[self._told :]
        self._told = len(self._events)
        return new

    @property
    def _impression(self) -> LanguageDetection:
        assert self._first is not None, "a decoder's first step carries its impression"
        return self._first

    @property
    def _avg_logprob(self) -> float:
        return sum(self._logprobs) / len(self._logprobs) if self._logprobs else 0.0

    @property
    def _doubtful(self) -> bool:
        return self._impression.no_speech_prob > _NO_SPEECH_PROB

    @property
    def _silent(self) -> bool:
        return self._doubtful and self._avg_logprob < _NO_SPEECH_LOGPROB
