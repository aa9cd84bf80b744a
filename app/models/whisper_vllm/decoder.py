"""Whisper's tokens of one window, assembled to segments and figures as they arrive."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol
from zlib import crc32

import numpy as np

from app.audio.waveform import SAMPLE_RATE
from app.models.base import (
    Capabilities,
    DecodeRequest,
    LanguageDetection,
    Segment,
    WindowFigures,
    WindowResult,
)
from app.models.whisper_vllm.prompt import prompt_ids
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.segments import Segmenter, compression_ratio
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window

_LONG = 32  # tokens: a decoder that repeats itself is noticed while it does
_WARM_UP_TOKENS = 4  # of a second of noise: a model may find a great deal to say about noise


@dataclass(frozen=True)
class TokenRequest:
    """A window as the engine takes it. `prompt` is the ids the decoder reads first,
    <|startoftranscript|> last. seed: of what is sampled at a temperature above 0."""

    window: Window
    rules: WindowRules
    prompt: tuple[int, ...]
    temperature: float = 0.0
    seed: int | None = None


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


class TokenDecoder(Protocol):
    """Decodes a window's tokens: the engine."""

    def decode(self, request: TokenRequest, max_tokens: int | None = None) -> AsyncGenerator[Step]:
        """Raises EngineDied. Closing it aborts the engine's request."""
        ...


class WhisperDecoder:
    """Implements app.models.base.WindowDecoder over an engine."""

    def __init__(self, engine: TokenDecoder, tokens: SpecialTokens, text: TextCodec) -> None:
        self._engine = engine
        self._tokens = tokens
        self._text = text
        self.capabilities = Capabilities(
            languages=frozenset(tokens.languages or {"en"}),
            prompt=True,
            translate=bool(tokens.languages),
            streaming=True,
        )

    async def decode_window(
        self, request: DecodeRequest, on_token: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[WindowResult]:
        """Decode one window in one pass: language, silence, text and times. Raises EngineDied."""
        assembly = _Assembly(request, self._tokens, self._text)
        async with aclosing(self._engine.decode(self._token_request(request))) as steps:
            async for step in steps:
                on_token()
                if assembly.add(step):
                    yield assembly.result()

    async def warm_up(self) -> None:
        """Decode a second of faint noise, so that no client pays for what is slow the first
        time. Raises EngineDied."""
        noise = np.random.default_rng(0).integers(-50, 50, SAMPLE_RATE, np.int16)
        request = TokenRequest(Window.of(0, noise), WindowRules(), (self._tokens.start,))
        async for _ in self._engine.decode(request, _WARM_UP_TOKENS):
            pass

    def _token_request(self, request: DecodeRequest) -> TokenRequest:
        rules = WindowRules(
            languages=request.languages if self._tokens.languages else (),
            translate=request.translate,
        )
        prompt = prompt_ids(self._tokens, self._text, request.prompt, request.keywords)
        # By what is heard, so that the same recording has the same text once more.
        seed = crc32(request.window.pcm.tobytes()) if request.temperature else None
        return TokenRequest(request.window, rules, prompt, request.temperature, seed)


@dataclass
class _Assembly:
    """Steps of one window, put together."""

    request: DecodeRequest
    tokens: SpecialTokens
    text: TextCodec
    _first: LanguageDetection | None = None
    _ended: Literal["text", "limit"] | None = None
    _ids: list[int] = field(default_factory=list)
    _logprobs: list[float] = field(default_factory=list)
    _closed: list[Segment] = field(default_factory=list)
    _since: int = 0  # tokens since a result was told

    def __post_init__(self) -> None:
        content = self.text.content if self.request.logprobs else None
        self._segmenter = Segmenter(self.request.window, self.tokens, self.text.decode, content)

    def add(self, step: Step) -> bool:
        """Take a step; whether a result is worth telling: at the first, at a segment's close, every
        now and then in a long one, and at the end."""
        is_first = self._first is None
        self._first = self._first or step.first
        self._ended = step.ended
        self._logprobs += [logprob for _, logprob in step.sampled]
        spoken = [(i, p) for i, p in step.sampled if i != self.tokens.end_of_text]
        self._ids += [i for i, _ in spoken]
        closed = self._segmenter.feed(spoken)
        self._closed += closed
        self._since = 0 if closed else self._since + len(spoken)
        is_long, self._since = self._since >= _LONG, self._since % _LONG
        return is_first or bool(closed) or is_long or step.ended is not None

    def result(self) -> WindowResult:
        assert self._first is not None, "a decoder's first step detects the language"
        return WindowResult(
            request=self.request,
            detection=self._first,
            figures=self._figures(self._first),
            closed=tuple(self._closed),
            tail=self._segmenter.tail(),
            ended=self._ended,
        )

    def _figures(self, first: LanguageDetection) -> WindowFigures:
        count = len(self._logprobs)
        return WindowFigures(
            start_ms=self.request.window.start_ms,
            temperature=self.request.temperature,
            avg_logprob=sum(self._logprobs) / count if count else 0.0,
            compression_ratio=compression_ratio(self.text.decode(self._ids)),
            no_speech_prob=first.no_speech_prob,
        )
