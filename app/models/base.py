"""What a model family gives the service, in plain types that name no family."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token: the bytes it stands for, which may be part of a character, and the
    model's raw log-probability of it, before the decoding rules mask any."""

    content: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class SegmentEvent:
    """A stretch of speech, told as it closes. Times in integer milliseconds from the recording's
    start. `text` is as the model wrote it; `logprobs` is empty unless asked for."""

    start_ms: int
    end_ms: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """What is known of a window once it is decoded. Its segments share them, as in OpenAI's
    answers. avg_logprob is the mean of the raw log-probabilities of what was sampled."""

    start_ms: int
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment when all is known of it."""

    spoken: SegmentEvent
    window: WindowFigures
