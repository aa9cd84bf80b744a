"""What a transcription is made of. Plain types: everything may import them, they import nothing."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from app.audio.waveform import Waveform
from app.models.base import Segment, SegmentEvent


@dataclass(frozen=True, slots=True)
class Transcript:
    """The whole of it. `language` is the ISO code of what is spoken."""

    language: str
    duration_s: float
    text: str
    segments: tuple[Segment, ...]
    translated: bool = False  # then `text` is English


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of the decoder.

    languages: ISO codes that may be spoken; one settles it, none lets the model choose of all.
    translate: into English, rather than to write what is spoken.
    prompt, keywords: text that comes before, and words to expect; both sway the spelling.
    logprobs: whether segments carry theirs.
    """

    languages: tuple[str, ...] = ()
    translate: bool = False
    temperature: float = 0.0
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    logprobs: bool = False


# What a window of so many seconds waits in until the engine has room for it, and holds meanwhile.
Turn = Callable[[float], AbstractAsyncContextManager[None]]


class Transcriber(Protocol):
    """What `api` knows of speech recognition."""

    def transcribe(
        self,
        wave: Waveform,
        options: Options,
        on_token: Callable[[], None] = ...,
        turn: Turn | None = ...,
    ) -> AsyncGenerator[SegmentEvent | Transcript]:
        """Segments in order, each as soon as it closes, then one Transcript.

        `on_token` is called as tokens of any window arrive, for latency figures. Without `turn` a
        recording's windows share the engine with nobody else's.
        Closing the generator aborts what is still being decoded. Raises EngineDied.
        """
        ...

    def languages(self) -> frozenset[str]:
        """ISO codes the checkpoint knows; "en" alone for an English-only one."""
        ...


class Joiner:
    """Puts consecutive pieces together, one at a time.

    Whisper writes an English piece with its leading space and a Chinese one without, so pieces
    are put end to end; only a doubled space at a join is dropped, and none is ever put in.
    """

    def __init__(self) -> None:
        self._begun = False
        self._held = ""  # trailing space: whether it belongs to the text shows with what follows

    def add(self, piece: str) -> str:
        """What `piece` adds to the text."""
        body = piece.strip()
        if not body:
            return ""
        lead = self._held or piece[: len(piece) - len(piece.lstrip())]
        self._held = piece[len(piece.rstrip()) :]
        begun, self._begun = self._begun, True
        return lead + body if begun else body


def join(pieces: Iterable[str]) -> str:
    joiner = Joiner()
    return "".join(joiner.add(piece) for piece in pieces)
