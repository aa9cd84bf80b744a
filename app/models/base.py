"""What a model family gives the service: plain types and protocols that name no family.

A family has one entry, `Family.load`, which starts an engine over a checkpoint's folder and returns
a LoadedModel. Its `decoder` turns windows of at most 30 s into timed segments. What is done with
those (hear again, drop, join) is `app.transcription`'s to decide, and the same for every family.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from app.metrics import ModelMetrics
from app.speech.windows import Window

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Capabilities:
    """What a loaded checkpoint can do.

    languages: ISO 639-1 codes that it transcribes. prompt: whether text that came before sways it.
    translate: whether it writes English for speech in another language. word_times: whether words
    have times of their own. streaming: whether segments close while a window is decoded.
    """

    languages: frozenset[str]
    prompt: bool = False
    translate: bool = False
    word_times: bool = False
    streaming: bool = False


@dataclass(frozen=True)
class DecodeRequest:
    """One window, and how it is to be decoded.

    languages: ISO codes that may be spoken; one settles it, none leaves the choice to the model.
    translate: into English. prompt, keywords: text that came before, and words to expect.
    temperature: 0 takes the likeliest token. fallback: whether a higher one may be tried where the
    decoder repeats itself. logprobs: whether segments carry their tokens'. words: whether `align`
    will be asked for its words. is_rest: whether what came before it in its window is told already.
    is_cut: whether it ends where somebody speaks on. is_whole: whether the model is to hear it as
    it was trained to, however short the window is.
    """

    window: Window
    languages: tuple[str, ...] = ()
    translate: bool = False
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    temperature: float = 0.0
    fallback: bool = True
    logprobs: bool = False
    words: bool = False
    is_rest: bool = False
    is_cut: bool = False
    is_whole: bool = False

    @property
    def prompted(self) -> bool:
        """Whether the model reads text before the window."""
        return bool(self.prompt.strip() or any(word.strip() for word in self.keywords))


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token: the bytes it stands for, which may be part of a character, and the
    model's raw log-probability of it, before the decoding rules mask any."""

    content: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its times, in integer milliseconds from the recording's start. `text` is as the
    model wrote it, its leading space and its punctuation included: a segment's words, end to end,
    are its text. probability: the mean of its tokens', of what was sampled."""

    start_ms: int
    end_ms: int
    text: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """A decoder's figures of a whole window, which its segments share as in OpenAI's answers.

    start_ms: of the window. avg_logprob: the mean of the raw log-probabilities of what was sampled.
    compression_ratio: how much smaller zlib makes the text. no_speech_prob: of the first step.
    """

    start_ms: int
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech. Times in integer milliseconds from the recording's start; `text` is as
    the model wrote it, its leading space included.

    Empty where nobody asked or the family has none: `tokens` (ids), `logprobs`, `words`, `speaker`
    (a label), `channel` (from 0), and `figures`, which are known when the window is decoded.
    """

    start_ms: int
    end_ms: int
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    words: tuple[Word, ...] = ()
    speaker: str = ""
    channel: int | None = None
    figures: WindowFigures | None = None


@dataclass(frozen=True)
class LanguageDetection:
    """The model's first look at a window. languages: ISO code to probability, of the languages that
    were candidates; sums to 1, or is empty for a checkpoint of one language."""

    languages: dict[str, float]
    no_speech_prob: float


@dataclass(frozen=True)
class WindowResult:
    """What a decoder has of a window so far; the whole of it once `ended` is set.

    closed: segments whose end the model has given. tail: text behind the last of them, which would
    end where the window does. ended: "text" where the model ended by itself, "limit" where it ran
    out of room, None while there is more to come. origin: what its decoder knows the window by.
    is_shortened: whether the model heard less than it was trained to, since the window is short.
    """

    request: DecodeRequest
    detection: LanguageDetection
    figures: WindowFigures
    closed: tuple[Segment, ...] = ()
    tail: Segment | None = None
    ended: Literal["text", "limit"] | None = None
    origin: object = None
    is_shortened: bool = False


class WindowDecoder(Protocol):
    """Decodes windows, many at once."""

    capabilities: Capabilities

    def decode_window(
        self, request: DecodeRequest, on_token: Callable[[], None] = ...
    ) -> AsyncGenerator[WindowResult]:
        """Results as they grow: one when the first token is there, one for each segment that
        closes, and one that has ended. `on_token` is called as tokens arrive, for latency figures.
        Closing the generator aborts the work. Raises EngineDied."""
        ...

    async def align(self, result: WindowResult, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """Return segments of a result, in their order, with their words; also of one that was
        broken off. Its request must have asked for `words`, and it must be the last thing that is
        asked of the result. Raises EngineDied."""
        ...

    async def warm_up(self) -> None:
        """Run what is slow the first time. Raises EngineDied."""
        ...


class Engine(Protocol):
    """The processes behind a decoder, as whoever supervises them sees them.

    outputs: how often any window gave tokens, ever. windows: in flight now. oldest: the number of
    the window that has been in flight for longest. used: when a window last came or left, by
    time.monotonic(). stalled: whether it was killed because it was stuck. start_seconds: what its
    start took.
    """

    outputs: int
    stalled: bool
    used: float
    start_seconds: float

    @property
    def alive(self) -> bool: ...
    @property
    def windows(self) -> int: ...
    @property
    def oldest(self) -> int | None: ...

    async def linear_kernels(self) -> dict[str, int]:
        """Kernel class to how many linear layers it serves. Raises EngineDied."""
        ...

    async def answers(self, seconds: float) -> bool:
        """Whether it answers anything at all within so long."""
        ...

    def set_idle_priority(self) -> None:
        """Have it run only while nobody else wants the processors."""
        ...

    def stop(self) -> None:
        """End its processes in order. Blocking, for seconds at most."""
        ...

    def kill(self) -> None:
        """End its processes at once. Blocking, until their memory is free."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint in an engine, ready to decode. slots: windows that it decodes at once.
    footprint: bytes of weights, keys and values. facts: what its family tells of it in /v1/models.
    """

    decoder: WindowDecoder
    engine: Engine
    slots: int
    footprint: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def capabilities(self) -> Capabilities:
        return self.decoder.capabilities


@dataclass(frozen=True)
class LoadOptions:
    """How an engine is sized and observed; None is the family's own choice.

    windows: decoded at once. kv_bytes: memory for keys and values. memory_bytes: the most that it
    may count as free, where several models share a device. metrics: without them nobody sees it.
    """

    windows: int | None = None
    kv_bytes: int | None = None
    memory_bytes: int | None = None
    linear_backend: str = "auto"
    traces_endpoint: str | None = None
    metrics: ModelMetrics | None = None
    short_encoder: Literal["auto", "on", "off"] = "off"
    known_as: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a checkpoint needs of a device: its weights, what an engine takes beside them, and
    what each window that is decoded at once takes."""

    weights: int
    overhead: int
    window: int


class Family(Protocol):
    """A family of models: what it needs before the first start, and how it loads a checkpoint."""

    def prepare(self, device: Device, log_level: str) -> None:
        """Get ready to start engines. From the main thread, before any."""
        ...

    def footprint(self, folder: Path, device: Device) -> Footprint:
        """What a checkpoint's folder says of the memory that it needs. Raises BadSource."""
        ...

    def start(self, name: str, folder: Path, device: Device, options: LoadOptions) -> LoadedModel:
        """Start an engine over a checkpoint's folder. Blocking, for seconds. Raises
        EngineFailed."""
        ...
