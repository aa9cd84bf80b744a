"""Segments that carry their own words, as openai/whisper and whisper.cpp have them: OpenAI's
answers have all words beside the segments."""

from typing import NotRequired, cast

from typing_extensions import TypedDict

from app.models.base import Word
from app.transcription.formats import VerboseSegment, verbose_body
from app.transcription.results import Transcript


class SegmentWord(TypedDict):
    """A word as the model wrote it, its leading space included."""

    word: str
    start: float
    end: float
    probability: NotRequired[float]


class DetailedSegment(VerboseSegment):
    """OpenAI's segment with its own words, where they were asked for."""

    words: NotRequired[list[SegmentWord]]


def detailed_segments(transcript: Transcript, *, words: bool) -> list[DetailedSegment]:
    """Return a transcript's segments, each with its words where `words` says so."""
    several = [cast("DetailedSegment", told) for told in verbose_body(transcript)["segments"]]
    if words:
        for told, segment in zip(several, transcript.segments, strict=True):
            told["words"] = [_word(word) for word in segment.words]
    return several


def _word(word: Word) -> SegmentWord:
    told = SegmentWord(word=word.text, start=word.start_ms / 1000, end=word.end_ms / 1000)
    if word.probability is not None:
        told["probability"] = word.probability
    return told
