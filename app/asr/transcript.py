"""What a transcription is made of. Plain types: everything may import them, they import nothing."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Protocol

from app.audio.waveform import Waveform


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech. Times in integer milliseconds from the recording's start.

    avg_logprob, compression_ratio and no_speech_prob are those of the segment's window, as in
    OpenAI's answers. avg_logprob is the mean of the model's raw log-probabilities of the sampled
    tokens, before the decoding rules mask any.
    """

    start_ms: int
    end_ms: int
    text: str
    tokens: tuple[int, ...]
    window_start_ms: int
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The whole of it. `language` is an ISO code."""

    language: str
    duration_s: float
    text: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of the decoder. `language` is an ISO code, or None to detect it."""

    language: str | None = None
    temperature: float = 0.0


class Transcriber(Protocol):
    """What `api` knows of speech recognition."""

    def transcribe(
        self, wave: Waveform, options: Options, on_token: Callable[[], None] = ...
    ) -> AsyncGenerator[Segment | Finished]:
        """Segments in order, each as soon as its window is decoded, then one Finished.

        `on_token` is called as tokens of any window arrive, for latency figures.
        Closing the generator aborts what is still being decoded. Raises EngineDied.
        """
        ...

    def languages(self) -> frozenset[str]:
        """ISO codes the checkpoint knows; "en" alone for an English-only one."""
        ...


def join(pieces: list[str]) -> str:
    """One text from consecutive pieces, each as the model wrote it.

    Whisper writes an English piece with its leading space and a Chinese one without, so pieces
    are put end to end; only a doubled space at a join is dropped, and none is ever put in.
    """
    text = ""
    for piece in pieces:
        text += piece.lstrip() if text.endswith((" ", "\n")) else piece
    return text.strip()
