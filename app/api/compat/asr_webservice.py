"""/asr and /detect-language, as whisper-asr-webservice 1.9 answers them (ahmetoner's,
`app/webservice.py` and `app/utils.py`): for Bazarr, and others that have its address as a setting.

What is asked comes in the query, the recording as the form's `audio_file`; with `encode=false` it
is raw sound, 16 bits little-endian, 16 kHz, mono. That server answers errors as FastAPI does; here
they are in OpenAI's envelope.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from typing_extensions import TypedDict

from app.api.compat.segments import DetailedSegment, detailed_segments
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.forms import HintedTranslationForm, SpeechForm, Text, TranscriptionForm
from app.api.openapi import query_route
from app.api.parsing import parse
from app.api.transcriptions import ADMISSION, Admission, Admitted, Asked, answer_speech
from app.api.uploads import Upload, UploadFormat
from app.languages import NAMES
from app.models.base import LanguageDetection, Segment
from app.transcription.cues import Layout
from app.transcription.language import likeliest
from app.transcription.results import Transcript
from app.transcription.subtitles import srt, vtt

_FIELD = "audio_file"
_RATE, _BYTES = 16_000, 2  # of its raw sound: samples a second, bytes a sample
_OPEN = 0xFFFF_FFFF  # a length that is not known, as who writes to a pipe has it
# The header of a WAV (RIFF, 1991) of such sound, whose end is where the file ends.
_RAW_HEAD = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    b"RIFF", _OPEN, b"WAVE", b"fmt ", 16, 1, 1, _RATE, _RATE * _BYTES, _BYTES, 8 * _BYTES,
    b"data", _OPEN,
)  # fmt: skip
_LONGEST_NAME = 200  # characters of the file's

Output = Literal["txt", "vtt", "srt", "tsv", "json"]


class DetectionQuery(BaseModel):
    """What `/detect-language` is asked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    encode: bool = Field(
        True,
        description="`false`: the recording is raw, 16 bits little-endian at 16 kHz, one channel.",
    )


class AsrQuery(DetectionQuery):
    """What `/asr` is asked. What else that server knows is ignored: speech is looked for as the
    service's settings have it, and speakers are not told apart."""

    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="`translate`: into English."
    )
    language: str | None = Field(None, description="What is spoken; detected where it is left out.")
    initial_prompt: Text = Field("", description="Text that came before; see `prompt`.")
    word_timestamps: bool = Field(
        False, description="With `output=json`: segments with their words and the words' times."
    )
    output: Output = Field("txt", description="Format of the answer.")

    def form(self) -> SpeechForm:
        """The same as OpenAI's clients ask for it."""
        kind = HintedTranslationForm if self.task == "translate" else TranscriptionForm
        subtitles = self.output if self.output in ("srt", "vtt") else "verbose_json"
        return kind.model_validate(
            {
                "language": self.language,
                "prompt": self.initial_prompt,
                "response_format": subtitles,
            }
        )


class DetectedLanguage(TypedDict):
    """confidence: from 0 to 1; 0 where nobody speaks in the first ten minutes."""

    detected_language: str
    language_code: str
    confidence: float


class AsrBody(TypedDict):
    """openai/whisper's result; `language` is a code."""

    text: str
    segments: list[DetailedSegment]
    language: str


router = APIRouter(tags=["other servers' clients"], dependencies=ADMISSION)


@router.post("/asr", **query_route(AsrQuery, _FIELD))
async def asr(request: Request, admitted: Admission) -> Response:
    """Turn a recording into text, as whisper-asr-webservice does, for Bazarr and its other clients:
    `curl -F audio_file=@mayday.mp3 'http://localhost:8000/asr?output=srt'`
    """
    query = parse(AsrQuery, request.query_params.multi_items())

    def read(upload: Upload) -> Asked:
        body = partial(_body, query.output, upload.filename)
        has_words = query.word_timestamps and query.output == "json"
        return Asked(query.form(), body, has_words)

    return await answer_speech(request, admitted, read, _shape(query))


@router.post("/detect-language", **query_route(DetectionQuery, _FIELD, DetectedLanguage))
async def detect_language(request: Request, admitted: Admission) -> Response:
    """Tell the language of a recording's first speech, as whisper-asr-webservice does:
    `curl -F audio_file=@mayday.mp3 http://localhost:8000/detect-language`
    """
    query = parse(DetectionQuery, request.query_params.multi_items())
    try:
        async with admitted.upload(request, _shape(query)) as upload:
            work = _detected(admitted, upload)
            told = await unless_client_leaves(request.receive, work)
            return admitted.served(JSONResponse(told))
    except (ClientLeft, ClientDisconnect):
        return admitted.left()


async def _detected(admitted: Admitted, upload: Upload) -> DetectedLanguage:
    session = await admitted.session(None)
    detection = await session.detection(upload.recording)
    return _told(detection, session.model.loaded.capabilities.languages)


def _told(detection: LanguageDetection, known: frozenset[str]) -> DetectedLanguage:
    """A checkpoint of one language has nothing to detect."""
    heard = detection.languages or (dict.fromkeys(known, 1.0) if len(known) == 1 else {"en": 0.0})
    code = likeliest(heard)
    return DetectedLanguage(
        detected_language=NAMES.get(code, code), language_code=code, confidence=heard[code]
    )


def _shape(query: DetectionQuery) -> UploadFormat:
    return UploadFormat(_FIELD, head=b"" if query.encode else _RAW_HEAD)


def _body(output: Output, filename: str, transcript: Transcript, layout: Layout) -> Response:
    """Return a transcript in one of that server's formats, all of which it calls plain text."""
    name = quote(filename[:_LONGEST_NAME], safe="")
    headers = {
        "asr-engine": "marlinscribe",
        "content-disposition": f'attachment; filename="{name}.{output}"',
    }
    return PlainTextResponse(_text(output, transcript, layout), headers=headers)


def _text(output: Output, transcript: Transcript, layout: Layout) -> str:
    segments = transcript.segments
    match output:
        case "srt":
            return srt(segments, layout)
        case "vtt":
            return vtt(segments, layout)
        case "tsv":
            return "".join(_tsv_lines(segments))
        case "txt":
            return "".join(f"{segment.text.strip()}\n" for segment in segments)
        case "json":
            return json.dumps(_result(transcript), ensure_ascii=False)


def _tsv_lines(segments: Iterable[Segment]) -> Iterator[str]:
    yield "start\tend\ttext\n"
    for one in segments:
        text = one.text.strip().replace("\t", " ")
        yield f"{one.start_ms}\t{one.end_ms}\t{text}\n"


def _result(transcript: Transcript) -> AsrBody:
    words = any(segment.words for segment in transcript.segments)
    segments = detailed_segments(transcript, words=words)
    return AsrBody(text=transcript.text, segments=segments, language=transcript.language)
