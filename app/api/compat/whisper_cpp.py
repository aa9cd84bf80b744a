"""/inference, as whisper.cpp's server answers it (ggml-org/whisper.cpp, `examples/server`): for
what was written for that server. Its `/health` is an alias of ours, in app/api/paths.py.

That server answers errors as `{"error": "…"}`; here they are in OpenAI's envelope.
"""

from functools import partial
from typing import Literal, NotRequired, Self, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from app.api.compat.segments import DetailedSegment, SegmentWord, detailed_segments
from app.api.forms import (
    HintedTranslationForm,
    ResponseFormat,
    SpeechForm,
    Text,
    TranscriptionForm,
    field_fault,
)
from app.api.openapi import form_route
from app.api.transcriptions import ADMISSION, Admission, Asked, answer_speech
from app.api.uploads import Upload
from app.transcription.cues import Layout
from app.transcription.formats import verbose_body
from app.transcription.results import Transcript
from app.transcription.subtitles import srt, vtt

_SRT = "application/x-subrip"


class InferenceForm(BaseModel):
    """The fields of POST /inference that mean something here. Those that choose how whisper.cpp
    decodes (`beam_size`, `temperature_inc`, `no_speech_thold` and the like) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: str | None = Field(
        None, description="What is spoken; detected where it is `auto` or left out."
    )
    detect_language: bool = Field(False, description="Whatever `language` says.")
    translate: bool = Field(False, description="Into English.")
    prompt: Text = Field("", description="Text that came before.")
    temperature: float = Field(
        0.0, ge=0, le=1, description="0 takes the likeliest token; above 0 tokens are sampled."
    )
    response_format: ResponseFormat = Field("json", description="Format of the answer.")
    no_timestamps: bool = Field(False, description="Segments of verbose_json without times.")
    token_timestamps: bool = Field(
        True, description="`false`: segments of verbose_json without words."
    )
    offset_t: float = Field(0, description="Only 0: the whole recording is transcribed.")
    duration: float = Field(0, description="Only 0: the whole recording is transcribed.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("offset_t", "duration"):
            if getattr(self, name):
                raise field_fault(
                    name, "a part of a recording is not transcribed: send that part alone"
                )
        return self

    @property
    def has_words(self) -> bool:
        return (
            self.response_format == "verbose_json"
            and self.token_timestamps
            and not self.no_timestamps
        )

    def form(self) -> SpeechForm:
        """The same as OpenAI's clients ask for it."""
        kind = HintedTranslationForm if self.translate else TranscriptionForm
        alike = {"prompt", "temperature", "response_format"}
        language = None if self.detect_language else self.language
        return kind.model_validate(self.model_dump(include=alike) | {"language": language})


class InferenceText(TypedDict):
    text: str


class InferenceSegment(TypedDict):
    """OpenAI's segment with its own words; without times where `no_timestamps` says so."""

    id: int
    text: str
    start: NotRequired[float]
    end: NotRequired[float]
    words: list[SegmentWord]
    tokens: list[int]
    temperature: NotRequired[float]
    avg_logprob: NotRequired[float]
    no_speech_prob: NotRequired[float]


class InferenceBody(TypedDict):
    """`text` has a line for each segment, as whisper.cpp writes it."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[InferenceSegment]


router = APIRouter(tags=["other servers' clients"], dependencies=ADMISSION)


@router.post("/inference", **form_route(InferenceForm, InferenceText | InferenceBody))
async def inference(request: Request, admitted: Admission) -> Response:
    """Turn a recording into text, as whisper.cpp's server does, for its clients:
    `curl -F file=@mayday.mp3 -F response_format=json http://localhost:8000/inference`
    """
    return await answer_speech(request, admitted, _asked)


def _asked(upload: Upload) -> Asked:
    sent = upload.form(InferenceForm)
    return Asked(sent.form(), partial(_body, sent), sent.has_words)


def _body(sent: InferenceForm, transcript: Transcript, layout: Layout) -> Response:
    match sent.response_format:
        case "text":  # that server calls it HTML, which it is not
            return PlainTextResponse(_lines(transcript))
        case "srt":
            return PlainTextResponse(srt(transcript.segments, layout), media_type=_SRT)
        case "vtt":
            return PlainTextResponse(vtt(transcript.segments, layout), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(_verbose(sent, transcript))
        case "json":
            return JSONResponse(InferenceText(text=_lines(transcript)))


def _lines(transcript: Transcript) -> str:
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def _verbose(sent: InferenceForm, transcript: Transcript) -> InferenceBody:
    told = verbose_body(transcript)
    segments = detailed_segments(transcript, words=True)
    return InferenceBody(
        task=told["task"],
        language=told["language"],
        duration=told["duration"],
        text=_lines(transcript),
        segments=[_segment(one, times=not sent.no_timestamps) for one in segments],
    )


def _segment(told: DetailedSegment, *, times: bool) -> InferenceSegment:
    """Return a segment without what whisper.cpp's has not."""
    names = InferenceSegment.__annotations__.keys() - (set() if times else {"start", "end"})
    return cast("InferenceSegment", {name: value for name, value in told.items() if name in names})
