"""POST /v1/audio/transcriptions and /translations: parse, call, render."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.api.caller import Calling
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.events import DONE, Event, EventStream
from app.api.forms import SpeechForm, TranscriptionForm, TranslationForm, parse
from app.api.openapi import speech_route
from app.api.security import require_key
from app.api.telemetry import Telemetry
from app.errors import (
    BadField,
    DeadlineExceeded,
    EngineDied,
    MarlinscribeError,
    NotReady,
    QueueFull,
    ShuttingDown,
    TooManyRequests,
    UploadNotStored,
)
from app.languages import code_of
from app.metrics import Metrics
from app.models.base import SegmentEvent
from app.serving.state import Ctx, ServedModel
from app.transcription.formats import (
    delta_event,
    done_event,
    json_body,
    segment_event,
    text_body,
    verbose_body,
    verbose_done_event,
)
from app.transcription.results import Joiner, Options, Transcript
from app.transcription.session import TranscriptionSession
from app.transcription.subtitles import Layout, srt, vtt

_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it
_STATUSES = (200, 429, _CLIENT_CLOSED_REQUEST, 500, 503)
# What may keep a good request from its text.
_OURS: tuple[type[MarlinscribeError], ...] = (
    TooManyRequests, QueueFull, DeadlineExceeded, UploadNotStored,
    NotReady, ShuttingDown, EngineDied, MarlinscribeError,
)  # fmt: skip


async def _listening(
    context: Ctx, caller: Calling, account: Telemetry
) -> AsyncGenerator[TranscriptionSession]:
    """Holds a place from before the body is read until the request is answered."""
    account.facts["client"] = caller.name
    async with context.place(caller.name, back=bool(caller.retries)) as served:
        yield TranscriptionSession(context, served, caller, account)


Admitted = Annotated[TranscriptionSession, Depends(_listening)]

# In this order, and both before the body is read: who asks, and whether we can and there is room.
router = APIRouter(
    prefix="/v1/audio", tags=["audio"], dependencies=[Depends(require_key), Depends(_listening)]
)


@router.post("/transcriptions", **speech_route(TranscriptionForm))
async def transcriptions(request: Request, listening: Admitted) -> Response:
    """Turn a recording into text, in the language that is spoken:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/transcriptions`

    Where keys are set, add `-H "authorization: Bearer KEY"`. Lists may be sent as `include[]=…` or
    `include=…`. Fields that are not known are ignored.
    """
    return await _answer(request, listening, TranscriptionForm)


@router.post("/translations", **speech_route(TranslationForm))
async def translations(request: Request, listening: Admitted) -> Response:
    """Turn a recording into English text, with a checkpoint that was trained to:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/translations`
    """
    return await _answer(request, listening, TranslationForm)


def preregister_series(metrics: Metrics) -> None:
    """Have the series there that alerts look at."""
    for route in router.routes:
        assert isinstance(route, APIRoute)
        metrics.preregister_series(route.path, _STATUSES, [error.code for error in _OURS])


async def _answer(
    request: Request, listening: TranscriptionSession, kind: type[SpeechForm]
) -> Response:
    context, served, account = listening.context, listening.served, listening.account
    try:
        async with listening.upload(request) as upload:
            form = parse(kind, upload.fields)
            context.check_model(served, form.model)
            options = _options(served, form)
            events = await listening.events(request.receive, upload, options, stream=form.stream)
        if form.stream:
            return EventStream(
                _told(events, form),
                heartbeat_seconds=context.settings.stream_heartbeat_seconds,
                on_abort=account.aborted,
                on_error=account.stream_failed,
            )
        return _body(form, await unless_client_leaves(request.receive, _last(events)))
    except (ClientLeft, ClientDisconnect):
        account.aborted()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


def _options(served: ServedModel, form: SpeechForm) -> Options:
    if not isinstance(form, TranscriptionForm):
        return Options(translate=True, temperature=form.temperature, prompt=form.prompt)
    asked = (form.language,) if form.language else form.languages
    param = "language" if form.language else "languages"
    return Options(
        languages=tuple(dict.fromkeys(_language(served, name, param) for name in asked)),
        temperature=form.temperature,
        prompt=form.prompt,
        keywords=form.keywords,
        logprobs="logprobs" in form.include,
    )


def _language(served: ServedModel, asked: str, param: str) -> str:
    """The ISO code asked for. Raises BadField."""
    code, known = code_of(asked), served.transcriber.languages()
    if code is None:
        raise BadField(
            f"{asked!r} is not a language Whisper knows: give an ISO 639-1 code such as 'zh'.",
            param=param,
        )
    if code not in known:
        names = ", ".join(sorted(known)[:12])
        raise BadField(f"This checkpoint does not know {asked!r}; it knows {names}.", param=param)
    return code


async def _last(events: AsyncGenerator[SegmentEvent | Transcript]) -> Transcript:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Transcript):
                return event
    raise AssertionError("a transcriber ends with Transcript")


async def _told(
    events: AsyncGenerator[SegmentEvent | Transcript], form: SpeechForm
) -> AsyncGenerator[Event]:
    joiner, number, logprobs = Joiner(), 0, _wants_logprobs(form)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SegmentEvent):
                yield delta_event(joiner.add(event.text), event, logprobs=logprobs)
                yield segment_event(number, event)
                number += 1
            elif form.response_format == "verbose_json":
                yield verbose_done_event(event, logprobs=logprobs)
            else:
                yield done_event(event, logprobs=logprobs)
    yield DONE


def _body(form: SpeechForm, transcript: Transcript) -> Response:
    layout, logprobs = Layout(form.max_line_width, form.max_line_count), _wants_logprobs(form)
    match form.response_format:
        case "json":
            return JSONResponse(json_body(transcript, logprobs=logprobs))
        case "verbose_json":
            return JSONResponse(verbose_body(transcript, logprobs=logprobs))
        case "text":
            return PlainTextResponse(text_body(transcript))
        case "srt":
            return PlainTextResponse(srt(transcript.segments, layout))
        case "vtt":
            return PlainTextResponse(vtt(transcript.segments, layout), media_type="text/vtt")


def _wants_logprobs(form: SpeechForm) -> bool:
    return isinstance(form, TranscriptionForm) and "logprobs" in form.include
