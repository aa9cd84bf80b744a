"""POST /v1/audio/transcriptions and /translations: parse, call, render."""

import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.api.caller import Calling
from app.api.context import Context, Ctx
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.events import DONE, Event, EventStream
from app.api.forms import SpeechForm, TranscriptionForm, TranslationForm, parse
from app.api.openapi import SERVED_MODEL, speech_route
from app.api.security import require_key
from app.api.telemetry import RequestTelemetry, Telemetry
from app.api.uploads import Upload, read_upload
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
from app.languages import code_of, is_left_open, script_of
from app.metrics import Metrics
from app.models.base import Capabilities, Segment
from app.serving.state import Place
from app.settings import Settings
from app.transcription.cues import Layout
from app.transcription.formats import (
    delta_event,
    done_event,
    json_body,
    segment_event,
    text_body,
    verbose_body,
    verbose_done_event,
)
from app.transcription.pipeline import last
from app.transcription.results import Joiner, Options, Transcript, vad_options
from app.transcription.session import Caller, TranscriptionSession
from app.transcription.subtitles import srt, vtt

_LONGEST_NAME_LOGGED = 100  # characters of a name that none has
_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it
_STATUSES = (200, 429, _CLIENT_CLOSED_REQUEST, 500, 503)
# What may keep a good request from its text.
_OURS: tuple[type[MarlinscribeError], ...] = (
    TooManyRequests, QueueFull, DeadlineExceeded, UploadNotStored,
    NotReady, ShuttingDown, EngineDied, MarlinscribeError,
)  # fmt: skip


@dataclass(frozen=True)
class Admitted:
    """A request that may send its body."""

    context: Context
    place: Place
    caller: Caller
    telemetry: RequestTelemetry

    @asynccontextmanager
    async def upload(self, request: Request) -> AsyncGenerator[Upload]:
        """The form that is sent; see read_upload."""
        with ExitStack() as stack:
            if self.caller.retries:
                in_flight = self.context.transcriptions.in_flight
                stack.enter_context(in_flight.returning(self.caller.name))
            begun = time.perf_counter()
            uploads = self.context.state.limit.uploads
            receiving = stack.enter_context(uploads.receiving(self.caller.name))
            async with read_upload(request, self.context.settings, receiving) as upload:
                seconds = time.perf_counter() - begun
                self.telemetry.observe("upload", seconds, self.context.metrics.upload)
                yield upload

    async def session(self, model: str | None) -> TranscriptionSession:
        """The request's session with the model that it names. Raises UnknownModel, NotReady."""
        facts = self.telemetry.facts
        if model is not None:  # told also where it is refused
            facts["asked_model"] = model[:_LONGEST_NAME_LOGGED]
        slot, served = await self.place.bind(model)
        facts["model"] = slot.name
        if model == slot.name:
            del facts["asked_model"]
        shared = self.context.transcriptions
        return TranscriptionSession(shared, slot, served, self.caller, self.telemetry)


async def _admitted(
    context: Ctx, caller: Calling, telemetry: Telemetry
) -> AsyncGenerator[Admitted]:
    """Holds a place from before the body is read until the request is answered."""
    telemetry.facts["client"] = caller.name
    async with context.state.place(caller.name, is_retry=bool(caller.retries)) as place:
        yield Admitted(context, place, caller, telemetry)


Admission = Annotated[Admitted, Depends(_admitted)]

# In this order, and both before the body is read: who asks, and whether we can and there is room.
router = APIRouter(
    prefix="/v1/audio", tags=["audio"], dependencies=[Depends(require_key), Depends(_admitted)]
)


@router.post("/transcriptions", **speech_route(TranscriptionForm))
async def transcriptions(request: Request, admitted: Admission) -> Response:
    """Turn a recording into text, in the language that is spoken:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/transcriptions`

    Where keys are set, add `-H "authorization: Bearer KEY"`. Lists may be sent as `include[]=…` or
    `include=…`. Fields that are not known are ignored.
    """
    return await _answer(request, admitted, TranscriptionForm)


@router.post("/translations", **speech_route(TranslationForm))
async def translations(request: Request, admitted: Admission) -> Response:
    """Turn a recording into English text, with a checkpoint that was trained to:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/translations`
    """
    return await _answer(request, admitted, TranslationForm)


def preregister_series(metrics: Metrics) -> None:
    """Have the series there that alerts look at."""
    for route in router.routes:
        assert isinstance(route, APIRoute)
        metrics.preregister_series(route.path, _STATUSES, [error.code for error in _OURS])


async def _answer(request: Request, admitted: Admitted, kind: type[SpeechForm]) -> Response:
    telemetry = admitted.telemetry
    try:
        async with admitted.upload(request) as upload:
            form = parse(kind, upload.fields)
            work = _events(admitted, form, upload)
            events = await unless_client_leaves(request.receive, work)
        answer: Response
        if form.stream:
            answer = EventStream(
                _told(events, form),
                heartbeat_seconds=admitted.context.settings.stream_heartbeat_seconds,
                on_abort=telemetry.aborted,
                on_error=telemetry.stream_failed,
            )
        else:
            layout = _layout(form, admitted.context.settings)
            answer = _body(form, await unless_client_leaves(request.receive, last(events)), layout)
        answer.headers[SERVED_MODEL] = quote(telemetry.facts["model"], safe="/:@+")
        return answer
    except (ClientLeft, ClientDisconnect):
        telemetry.aborted()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _events(
    admitted: Admitted, form: SpeechForm, upload: Upload
) -> AsyncGenerator[Segment | Transcript]:
    session = await admitted.session(form.model)
    return await session.events(upload.recording, _options(session, form), stream=form.stream)


def _options(session: TranscriptionSession, form: SpeechForm) -> Options:
    """What a form asks of the session's model. Raises BadField."""
    capabilities, settings = session.model.loaded.capabilities, session.shared.settings
    common = Options(
        temperature=form.temperature,
        fallback=settings.temperature_fallback,
        prompt=form.prompt,
        track=form.audio_track,
        split_channels=form.channels == "split",
    )
    if not isinstance(form, TranscriptionForm):
        return replace(common, translate=True)
    asked = (form.language,) if form.language else form.languages
    if any(map(is_left_open, asked)):
        asked = ()
    param = "language" if form.language else "languages"
    strategy = form.chunking_strategy
    return replace(
        common,
        languages=tuple(dict.fromkeys(_language(capabilities, name, param) for name in asked)),
        keywords=form.keywords,
        logprobs="logprobs" in form.include,
        words=_needs_words(session, form),
        vad=vad_options(settings, strategy.own) if strategy else None,
        script=next(filter(None, map(script_of, asked)), settings.chinese_script),
    )


def _needs_words(session: TranscriptionSession, form: TranscriptionForm) -> bool:
    """Whether words are asked for, or subtitles show less than a segment at once. Raises
    BadField."""
    has_times = session.model.loaded.capabilities.word_times
    if _wants_words(form) and not has_times:
        raise BadField(
            f"The model {session.slot.name!r} gives words no times: ask it for 'segment' alone.",
            param="timestamp_granularities",
        )
    if form.response_format in ("srt", "vtt"):
        return has_times and _layout(form, session.shared.settings).divides_segments
    return _wants_words(form)


def _language(capabilities: Capabilities, asked: str, param: str) -> str:
    """The ISO code asked for. Raises BadField."""
    code, known = code_of(asked), capabilities.languages
    if code is None:
        raise BadField(
            f"{asked!r} is not a language Whisper knows: give a code such as 'zh' or 'zh-TW', or "
            "'auto'.",
            param=param,
        )
    if code not in known:
        names = ", ".join(sorted(known)[:12])
        raise BadField(f"This checkpoint does not know {asked!r}; it knows {names}.", param=param)
    return code


async def _told(
    events: AsyncGenerator[Segment | Transcript], form: SpeechForm
) -> AsyncGenerator[Event]:
    joiner, number = Joiner(), 0
    logprobs, words = _wants_logprobs(form), _wants_words(form)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Segment):
                yield delta_event(joiner.add(event.text), event, logprobs=logprobs)
                yield segment_event(number, event, words=words)
                number += 1
            elif form.response_format == "verbose_json":
                yield verbose_done_event(event, logprobs=logprobs, words=words)
            else:
                yield done_event(event, logprobs=logprobs)
    yield DONE


def _layout(form: SpeechForm, settings: Settings) -> Layout:
    """Lines as a request asks for them, else cues as the service's settings have them."""
    if form.max_line_width:
        return Layout(form.max_line_width, form.max_line_count)
    return Layout(is_for_readers=settings.subtitle_cues == "readable")


def _body(form: SpeechForm, transcript: Transcript, layout: Layout) -> Response:
    logprobs = _wants_logprobs(form)
    match form.response_format:
        case "json":
            return JSONResponse(json_body(transcript, logprobs=logprobs))
        case "verbose_json":
            words = _wants_words(form)
            return JSONResponse(verbose_body(transcript, logprobs=logprobs, words=words))
        case "text":
            return PlainTextResponse(text_body(transcript))
        case "srt":
            return PlainTextResponse(srt(transcript.segments, layout))
        case "vtt":
            return PlainTextResponse(vtt(transcript.segments, layout), media_type="text/vtt")


def _wants_logprobs(form: SpeechForm) -> bool:
    return isinstance(form, TranscriptionForm) and "logprobs" in form.include


def _wants_words(form: SpeechForm) -> bool:
    return "word" in form.timestamp_granularities
