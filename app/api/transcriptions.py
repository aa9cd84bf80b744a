"""POST /v1/audio/transcriptions and /translations: parse, call, render."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.api.answers import body_of, layout_of, told_events
from app.api.background import accept
from app.api.background_body import TranscriptionJobBody
from app.api.caller import Calling
from app.api.context import Context, Ctx
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.events import EventStream
from app.api.forms import SpeechForm, TranscriptionForm, TranslationForm
from app.api.openapi import SERVED_MODEL, speech_route
from app.api.options import options_of
from app.api.paths import ASKED_MODEL
from app.api.security import require_key
from app.api.telemetry import RequestTelemetry, Telemetry
from app.api.uploads import Upload, UploadFormat, read_upload
from app.errors import (
    DeadlineExceeded,
    EngineDied,
    MarlinscribeError,
    NotReady,
    QueueFull,
    ShuttingDown,
    TooManyRequests,
    UploadNotStored,
)
from app.metrics import Metrics
from app.models.base import Segment
from app.serving.state import Place
from app.transcription.cues import Layout
from app.transcription.pipeline import last
from app.transcription.results import Transcript
from app.transcription.session import Caller, TranscriptionSession

_LONGEST_NAME_LOGGED = 100  # characters of a name that none has
_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it
_OPENAIS = UploadFormat(takes_json=True, takes_url=True)
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
    async def upload(self, request: Request, shape: UploadFormat) -> AsyncGenerator[Upload]:
        """What is sent; see read_upload."""
        with ExitStack() as stack:
            if self.caller.retries:
                in_flight = self.context.transcriptions.in_flight
                stack.enter_context(in_flight.returning(self.caller.name))
            begun = time.perf_counter()
            uploads = self.context.state.limit.uploads
            receiving = stack.enter_context(uploads.receiving(self.caller.name))
            async with read_upload(request, self.context.settings, receiving, shape) as upload:
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

    def served(self, answer: Response) -> Response:
        """Say in an answer which model it is from."""
        answer.headers[SERVED_MODEL] = quote(self.telemetry.facts["model"], safe="/:@+")
        return answer

    def left(self) -> Response:
        """Note that the client left; what nobody is there to read."""
        self.telemetry.aborted()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _admitted(
    context: Ctx, caller: Calling, telemetry: Telemetry
) -> AsyncGenerator[Admitted]:
    """Holds a place from before the body is read until the request is answered."""
    telemetry.facts["client"] = caller.name
    async with context.state.place(caller.name, is_retry=bool(caller.retries)) as place:
        yield Admitted(context, place, caller, telemetry)


Admission = Annotated[Admitted, Depends(_admitted)]
# In this order, and both before the body is read: who asks, and whether we can and there is room.
ADMISSION = [Depends(require_key), Depends(_admitted)]

router = APIRouter(prefix="/v1/audio", tags=["audio"], dependencies=ADMISSION)


@dataclass(frozen=True)
class Asked:
    """What a client asks for. form: in OpenAI's words. body: renders a transcript where it is no
    stream. has_words: whether segments get words where the model gives those times."""

    form: SpeechForm
    body: Callable[[Transcript, Layout], Response]
    has_words: bool = False


@router.post("/transcriptions", **speech_route(TranscriptionForm, TranscriptionJobBody))
async def transcriptions(request: Request, admitted: Admission) -> Response:
    """Turn a recording into text, in the language that is spoken:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/transcriptions`

    Where keys are set, add `-H "authorization: Bearer KEY"`. Lists may be sent as `include[]=…` or
    `include=…`. Fields that are not known are ignored. The body may be JSON too, with the recording
    in base64: `{"input_audio": {"data": "UklGR…", "format": "wav"}}`.
    """
    return await answer_speech(request, admitted, partial(_asked, TranscriptionForm))


@router.post("/translations", **speech_route(TranslationForm))
async def translations(request: Request, admitted: Admission) -> Response:
    """Turn a recording into English text, with a checkpoint that was trained to:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/translations`
    """
    return await answer_speech(request, admitted, partial(_asked, TranslationForm))


def _asked(kind: type[SpeechForm], upload: Upload) -> Asked:
    form = upload.form(kind)
    return Asked(form, partial(body_of, form))


def preregister_series(metrics: Metrics, *routers: APIRouter) -> None:
    """Have the series there that alerts look at, of this module's routes and of other routers'."""
    for route in [route for one in (router, *routers) for route in one.routes]:
        assert isinstance(route, APIRoute)
        metrics.preregister_series(route.path, _STATUSES, [error.code for error in _OURS])


async def answer_speech(
    request: Request,
    admitted: Admitted,
    read: Callable[[Upload], Asked],
    shape: UploadFormat = _OPENAIS,
) -> Response:
    """Receive a recording, `read` what is asked of it, and answer with its transcript. Raises what
    `read`, the upload and the session do."""
    telemetry, settings = admitted.telemetry, admitted.context.settings
    try:
        async with admitted.upload(request, shape) as upload:
            asked = read(upload)
            model = asked.form.model or request.scope.get(ASKED_MODEL)
            if isinstance(asked.form, TranscriptionForm) and asked.form.background:
                session = await admitted.session(model)
                return await accept(admitted.context, session, asked.form, upload)
            work = _events(admitted, model, asked, upload)
            events = await unless_client_leaves(request.receive, work)
        answer: Response
        if asked.form.stream:
            answer = EventStream(
                told_events(events, asked.form),
                heartbeat_seconds=settings.stream_heartbeat_seconds,
                on_abort=telemetry.aborted,
                on_error=telemetry.stream_failed,
            )
        else:
            whole = await unless_client_leaves(request.receive, last(events))
            answer = asked.body(whole, layout_of(asked.form, settings))
        return admitted.served(answer)
    except (ClientLeft, ClientDisconnect):
        return admitted.left()


async def _events(
    admitted: Admitted, model: str | None, asked: Asked, upload: Upload
) -> AsyncGenerator[Segment | Transcript]:
    session = await admitted.session(model)
    options = options_of(session, asked.form)
    if asked.has_words and not options.translate:
        options = replace(options, words=session.model.loaded.capabilities.word_times)
    return await session.events(upload.recording, options, stream=asked.form.stream)
