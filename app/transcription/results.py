"""What a transcription is asked for and what it results in. Plain types."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.models.base import Segment, Word
from app.settings import Settings
from app.speech.cutting import vad_of
from app.speech.stretches import VadOptions
from app.transcription.coverage import Coverage
from app.transcription.script import Script


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of the model.

    languages: ISO codes that may be spoken; one settles it, none lets the model choose of all.
    translate: into English, rather than to write what is spoken.
    prompt, keywords: text that comes before, and words to expect; both sway the spelling.
    fallback: whether a higher temperature than 0 may be tried.
    logprobs: whether segments carry their tokens'. words: whether they carry words.
    vad: what counts as speech, where that is not for the service's settings to say.
    script: what Chinese is written in; None is the model's.
    track: which of the recording's audio tracks, from 0; None is its default. split_channels:
    whether each channel is transcribed by itself.
    """

    languages: tuple[str, ...] = ()
    translate: bool = False
    temperature: float = 0.0
    fallback: bool = True
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    logprobs: bool = False
    words: bool = False
    vad: VadOptions | None = None
    script: Script | None = None
    track: int | None = None
    split_channels: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording's. `language` is the ISO code of what is spoken; `text` is English where it
    is `translated`. coverage: what became of the speech; None where nobody looked for it."""

    language: str
    duration_s: float
    text: str
    segments: tuple[Segment, ...]
    translated: bool = False
    coverage: Coverage | None = None

    @property
    def words(self) -> Iterator[Word]:
        """The words of all segments, where they were asked for."""
        return (word for segment in self.segments for word in segment.words)


def vad_options(settings: Settings, own: Mapping[str, Any]) -> VadOptions:
    """Return what counts as speech for a request that has some of it its `own` way."""
    return replace(vad_of(settings), **own)


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
