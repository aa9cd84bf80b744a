"""Whisper's tokens of one window, assembled to segments and figures as they arrive."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import uuid4
from zlib import crc32

import numpy as np

from app.audio.waveform import SAMPLE_RATE
from app.metrics import ModelMetrics, unobserved
from app.models.base import (
    Capabilities,
    DecodeRequest,
    LanguageDetection,
    Segment,
    WindowFigures,
    WindowResult,
)
from app.models.whisper_vllm.encoder_length import WHOLE, EncoderLengths, frames_of
from app.models.whisper_vllm.prompt import prompt_ids
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.segments import Segmenter, compression_ratio
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import MOST_FRAMES, SpecialTokens
from app.models.whisper_vllm.word_times import Sampled, aligned
from app.speech.alignment import CrossAttention, Lags, scores
from app.speech.windows import Window

LONG = 32  # tokens: a decoder that repeats itself is noticed while it does
_WARM_UP_TOKENS = 4  # of a second of noise: a model may find a great deal to say about noise


@dataclass(frozen=True)
class TokenRequest:
    """A window as the engine takes it. `prompt` is the ids the decoder reads first,
    <|startoftranscript|> last. seed: of what is sampled at a temperature above 0. recorded: what
    its attention is kept as; empty where nobody will ask for it. positions: the encoder's."""

    window: Window
    rules: WindowRules
    prompt: tuple[int, ...]
    temperature: float = 0.0
    seed: int | None = None
    recorded: str = ""
    positions: int = MOST_FRAMES


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

    async def attention(self, request: TokenRequest, count: int) -> CrossAttention:
        """Return what chose the first `count` tokens behind the forced ones. Raises EngineDied."""
        ...


class WhisperDecoder:
    """Implements app.models.base.WindowDecoder over an engine."""

    def __init__(
        self,
        engine: TokenDecoder,
        tokens: SpecialTokens,
        text: TextCodec,
        lags: Lags = (),
        metrics: ModelMetrics | None = None,
        lengths: EncoderLengths = WHOLE,
    ) -> None:
        """lags: of the alignment heads that the engine records. Without `metrics` nobody sees what
        it takes. lengths: how long the encoder is for which window."""
        self._engine = engine
        self._tokens = tokens
        self._text = text
        self._lags = lags
        self._metrics = metrics or unobserved()
        self._lengths = lengths
        self.capabilities = Capabilities(
            languages=frozenset(tokens.languages or {"en"}),
            prompt=True,
            translate=bool(tokens.languages),
            word_times=True,
            streaming=True,
        )

    async def decode_window(
        self, request: DecodeRequest, on_token: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[WindowResult]:
        """Decode one window in one pass: language, silence, text and times. Raises EngineDied."""
        asked = self._token_request(request)
        assembly = _Assembly(request, asked, self._tokens, self._text)
        async with aclosing(self._engine.decode(asked)) as steps:
            async for step in steps:
                on_token()
                if assembly.add(step):
                    yield assembly.result()

    async def align(self, result: WindowResult, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """Return the segments with words, by what the model attended to. Raises EngineDied."""
        with self._metrics.alignment.time():
            sampled, attention = await self.attended(result)
            return await asyncio.to_thread(self._aligned, result, segments, sampled, attention)

    async def attended(self, result: WindowResult) -> tuple[Sampled, CrossAttention]:
        """Return the tokens that a result was made of, and what chose each. Once, where its request
        asked for words. Raises EngineDied."""
        decoded = result.origin
        assert isinstance(decoded, _Assembly), "a result is aligned by what decoded it"
        attention = await self._engine.attention(decoded.asked, len(decoded.sampled))
        return decoded.sampled, attention

    def _aligned(
        self,
        result: WindowResult,
        segments: Sequence[Segment],
        sampled: Sampled,
        attention: CrossAttention,
    ) -> tuple[Segment, ...]:
        score = scores(attention.weights(), self._lags)
        return aligned(segments, sampled, score, result.request.window, self._text.content)

    async def warm_up(self) -> None:
        """Decode a second of faint noise, so that no client pays for what is slow the first
        time. Raises EngineDied."""
        noise = np.random.default_rng(0).integers(-50, 50, SAMPLE_RATE, np.int16)
        request = TokenRequest(Window.of(0, noise), WindowRules(), (self._tokens.start,))
        async for _ in self._engine.decode(request, _WARM_UP_TOKENS):
            pass

    def _token_request(self, request: DecodeRequest) -> TokenRequest:
        window = request.window
        lengths = WHOLE if request.is_whole else self._lengths
        positions = lengths.positions(window.duration_ms)
        rules = WindowRules(
            languages=request.languages if self._tokens.languages else (),
            translate=request.translate,
            frames=0 if positions == MOST_FRAMES else frames_of(window.duration_ms),
        )
        prompt = prompt_ids(self._tokens, self._text, request.prompt, request.keywords)
        # By what is heard, so that the same recording has the same text once more.
        seed = crc32(request.window.pcm.tobytes()) if request.temperature else None
        recorded = uuid4().hex if request.words else ""
        return TokenRequest(window, rules, prompt, request.temperature, seed, recorded, positions)


@dataclass
class _Assembly:
    """Steps of one window, put together."""

    request: DecodeRequest
    asked: TokenRequest
    tokens: SpecialTokens
    text: TextCodec
    sampled: list[tuple[int, float]] = field(default_factory=list)
    _first: LanguageDetection | None = None
    _ended: Literal["text", "limit"] | None = None
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
        self.sampled += step.sampled
        spoken = [(i, p) for i, p in step.sampled if i != self.tokens.end_of_text]
        closed = self._segmenter.feed(spoken)
        self._closed += closed
        self._since = 0 if closed else self._since + len(spoken)
        is_long, self._since = self._since >= LONG, self._since % LONG
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
            origin=self,
            is_shortened=self.asked.positions < MOST_FRAMES,
        )

    def _figures(self, first: LanguageDetection) -> WindowFigures:
        count = len(self.sampled)
        return WindowFigures(
            start_ms=self.request.window.start_ms,
            temperature=self.request.temperature,
            avg_logprob=sum(p for _, p in self.sampled) / count if count else 0.0,
            compression_ratio=compression_ratio(self.text.decode([i for i, _ in self.sampled])),
            no_speech_prob=first.no_speech_prob,
        )
