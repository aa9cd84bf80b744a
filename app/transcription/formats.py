"""A transcript as the bodies and events OpenAI's clients parse."""

from collections import defaultdict
from collections.abc import Iterable
from heapq import merge
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # typing's own: pydantic takes it from Python 3.12 on

from app.languages import NAMES
from app.models.base import Segment, Word
from app.transcription.coverage import Coverage, DroppedSpeech
from app.transcription.results import Transcript

_FRAME_MS = 10  # Whisper's hop: `seek` counts mel frames
_PLACES = 4  # of a word's probability


class Usage(TypedDict):
    type: Literal["duration"]
    seconds: float


class Logprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class JsonBody(TypedDict):
    text: str
    usage: Usage
    logprobs: NotRequired[list[Logprob]]


class VerboseSegment(TypedDict):
    """OpenAI's segment. What a model family has no figures for is left out."""

    id: int
    seek: NotRequired[int]
    start: float
    end: float
    text: str
    tokens: list[int]
    channel: NotRequired[int]
    temperature: NotRequired[float]
    avg_logprob: NotRequired[float]
    compression_ratio: NotRequired[float]
    no_speech_prob: NotRequired[float]


class WordBody(TypedDict):
    """OpenAI's word. `probability` is ours, and faster-whisper's; so is `channel`, where channels
    are transcribed by themselves."""

    word: str
    start: float
    end: float
    probability: NotRequired[float]
    channel: NotRequired[int]


class DroppedBody(TypedDict):
    start: float
    end: float
    reason: str
    channel: NotRequired[int]


class CoverageBody(TypedDict):
    """Ours: seconds of speech, seconds of it that were decoded again, and where it has no text."""

    speech: float
    decoded_again: float
    dropped: list[DroppedBody]


class VerboseBody(TypedDict):
    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[VerboseSegment]
    words: NotRequired[list[WordBody]]
    usage: Usage
    coverage: NotRequired[CoverageBody]
    logprobs: NotRequired[list[Logprob]]


class DeltaEvent(TypedDict):
    type: Literal["transcript.text.delta"]
    delta: str
    logprobs: NotRequired[list[Logprob]]


class SegmentEventBody(TypedDict):
    """OpenAI's event. `speaker` is empty where nobody tells speakers apart. Ours are `words`, where
    they are asked for, and `channel`, where channels are transcribed by themselves."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str
    words: NotRequired[list[WordBody]]
    channel: NotRequired[int]


class DoneEvent(JsonBody):
    type: Literal["transcript.text.done"]


class VerboseDoneEvent(VerboseBody):
    type: Literal["transcript.text.done"]


def json_body(transcript: Transcript, *, logprobs: bool = False) -> JsonBody:
    body = JsonBody(text=transcript.text, usage=_usage(transcript))
    if logprobs:
        body["logprobs"] = _logprobs(transcript.segments)
    return body


def text_body(transcript: Transcript) -> str:
    return transcript.text + "\n"


def verbose_body(
    transcript: Transcript, *, logprobs: bool = False, words: bool = False
) -> VerboseBody:
    """`language` is that of `text`, by its English name."""
    language = "en" if transcript.translated else transcript.language
    body = VerboseBody(
        task="translate" if transcript.translated else "transcribe",
        language=NAMES.get(language, language),
        duration=round(transcript.duration_s, 3),
        text=transcript.text,
        segments=[_segment(i, s) for i, s in enumerate(transcript.segments)],
        usage=_usage(transcript),
    )
    if words:
        body["words"] = _words(transcript.segments)
    if transcript.coverage:
        body["coverage"] = _coverage(transcript.coverage)
    if logprobs:
        body["logprobs"] = _logprobs(transcript.segments)
    return body


def delta_event(delta: str, segment: Segment, *, logprobs: bool = False) -> DeltaEvent:
    event = DeltaEvent(type="transcript.text.delta", delta=delta)
    if logprobs:
        event["logprobs"] = _logprobs([segment])
    return event


def segment_event(number: int, segment: Segment, *, words: bool = False) -> SegmentEventBody:
    """Return the event of a segment that has closed, the `number`th of its recording from 0."""
    body = SegmentEventBody(
        type="transcript.text.segment",
        id=f"seg_{number}",
        start=segment.start_ms / 1000,
        end=segment.end_ms / 1000,
        text=segment.text,
        speaker=segment.speaker,
    )
    if words:
        body["words"] = _words([segment])
    if segment.channel is not None:
        body["channel"] = segment.channel
    return body


def done_event(transcript: Transcript, *, logprobs: bool = False) -> DoneEvent:
    return DoneEvent(type="transcript.text.done", **json_body(transcript, logprobs=logprobs))


def verbose_done_event(
    transcript: Transcript, *, logprobs: bool = False, words: bool = False
) -> VerboseDoneEvent:
    body = verbose_body(transcript, logprobs=logprobs, words=words)
    return VerboseDoneEvent(type="transcript.text.done", **body)


def _segment(number: int, segment: Segment) -> VerboseSegment:
    body = VerboseSegment(
        id=number,
        start=segment.start_ms / 1000,
        end=segment.end_ms / 1000,
        text=segment.text,
        tokens=list(segment.tokens),
    )
    if segment.channel is not None:
        body["channel"] = segment.channel
    if figures := segment.figures:
        body["seek"] = figures.start_ms // _FRAME_MS
        body["temperature"] = figures.temperature
        body["avg_logprob"] = figures.avg_logprob
        body["compression_ratio"] = figures.compression_ratio
        body["no_speech_prob"] = figures.no_speech_prob
    return body


def _words(segments: Iterable[Segment]) -> list[WordBody]:
    """Return the words of all segments; of channels, by when they start."""
    channels = defaultdict[int | None, list[WordBody]](list)
    for one in segments:
        channels[one.channel] += [_word(w, one.channel) for w in one.words if w.text.strip()]
    return list(merge(*channels.values(), key=lambda word: word["start"]))


def _word(word: Word, channel: int | None) -> WordBody:
    body = WordBody(word=word.text.strip(), start=word.start_ms / 1000, end=word.end_ms / 1000)
    if word.probability is not None:
        body["probability"] = round(word.probability, _PLACES)
    if channel is not None:
        body["channel"] = channel
    return body


def _coverage(coverage: Coverage) -> CoverageBody:
    return CoverageBody(
        speech=coverage.speech_ms / 1000,
        decoded_again=coverage.again_ms / 1000,
        dropped=[_dropped(one) for one in coverage.dropped],
    )


def _dropped(speech: DroppedSpeech) -> DroppedBody:
    body = DroppedBody(start=speech.start_ms / 1000, end=speech.end_ms / 1000, reason=speech.reason)
    if speech.channel is not None:
        body["channel"] = speech.channel
    return body


def _logprobs(segments: Iterable[Segment]) -> list[Logprob]:
    """`token` shows U+FFFD where a token is part of a character; `bytes` are exact."""
    return [
        Logprob(
            token=one.content.decode("utf-8", "replace"),
            logprob=one.logprob,
            bytes=list(one.content),
        )
        for segment in segments
        for one in segment.logprobs
    ]


def _usage(transcript: Transcript) -> Usage:
    return Usage(type="duration", seconds=round(transcript.duration_s, 3))
