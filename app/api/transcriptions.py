"""POST /v1/audio/transcriptions and /translations: parse, call, render."""

import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
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
from app.api.forms import SpeechForm, TranscriptionForm, TranslationForm, parse
from app.api.openapi import SERVED_MODEL, speech_route
from app.api.options import options_of
from app.api.security import require_key
from app.api.telemetry import RequestTelemetry, Telemetry
from app.api.uploads import Upload, read_upload
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
from app.transcription.pipeline import last
from app.transcription.results import Transcript
from app.transcription.session import Caller, TranscriptionSession

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


@router.post("/transcriptions", **speech_route(TranscriptionForm, TranscriptionJobBody))
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
            if isinstance(form, TranscriptionForm) and form.background:
                session = await admitted.session(form.model)
                return await accept(admitted.context, session, form, upload)
            work = _events(admitted, form, upload)
            events = await unless_client_leaves(request.receive, work)
        answer: Response
        if form.stream:
            answer = EventStream(
                told_events(events, form),
                heartbeat_seconds=admitted.context.settings.stream_heartbeat_seconds,
                on_abort=telemetry.aborted,
                on_error=telemetry.stream_failed,
            )
        else:
            layout = layout_of(form, admitted.context.settings)
            answer = body_of(
                form, await unless_client_leaves(request.receive, last(events)), layout
            )
        answer.headers[SERVED_MODEL] = quote(telemetry.facts["model"], safe="/:@+")
        return answer
    except (ClientLeft, ClientDisconnect):
        telemetry.aborted()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _events(
    admitted: Admitted, form: SpeechForm, upload: Upload
) -> AsyncGenerator[Segment | Transcript]:
    session = await admitted.session(form.model)
    return await session.events(upload.recording, options_of(session, form), stream=form.stream)
