"""Transcriptions in the background: jobs that POST /v1/audio/transcriptions begins with
`background=true`, for whoever has the key that they were begun with."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from app.api.answers import body_of, layout_of, wants_words
from app.api.background_body import (
    RENDERED,
    DeletedTranscriptionJob,
    TranscriptionJobBody,
    form_of,
    job_body,
    progress_body,
)
from app.api.caller import Calling
from app.api.context import Context, Ctx
from app.api.events import DONE, Event, EventStream
from app.api.forms import TranscriptionForm
from app.api.openapi import errors, event_stream, result_parameters
from app.api.options import background_options
from app.api.pages import Limit, ListBody, Page
from app.api.parsing import form_fields
from app.api.security import require_key
from app.api.telemetry import Telemetry
from app.api.uploads import Upload
from app.background import Ask, BackgroundJobs, TranscriptionJob
from app.errors import BadField, NotReady, ShuttingDown
from app.models.base import Segment
from app.outbound.addresses import AddressRefused
from app.outbound.requests import checked
from app.settings import Settings
from app.transcription.formats import segment_event
from app.transcription.session import Caller, TranscriptionSession

_RESULT = {"application/json": {"schema": {"type": "object"}}} | {
    media: {"schema": {"type": "string"}} for media in ("text/plain", "text/vtt")
}


async def _background(context: Ctx) -> BackgroundJobs:
    return _of(context)


async def _owner(context: Ctx, caller: Calling) -> str:
    return owner_of(context, caller)


Jobs = Annotated[BackgroundJobs, Depends(_background)]
Owner = Annotated[str, Depends(_owner)]

router = APIRouter(
    prefix="/v1/audio/transcriptions",
    tags=["background"],
    dependencies=[Depends(require_key)],
    responses=errors(401, 503),
)


@router.get("", responses=errors(400))
async def transcription_jobs(
    context: Ctx,
    jobs: Jobs,
    owner: Owner,
    limit: Limit = 20,
    after: str | None = None,
) -> ListBody[TranscriptionJobBody]:
    """List the transcriptions that were begun in the background with this key, the newest first;
    `after` is the last id of the page before."""
    return Page(jobs.all(owner), limit, after).body(partial(job_body, context.settings))


@router.get("/{id}", responses=errors(404))
async def transcription_job(
    context: Ctx, jobs: Jobs, owner: Owner, id: str
) -> TranscriptionJobBody:
    """Return one transcription in the background: its status, how far it is, and its error."""
    return job_body(context.settings, jobs.get(owner, id))


@router.get(
    "/{id}/result",
    response_class=Response,
    responses=errors(400, 404, 409) | {200: {"content": _RESULT}},
    openapi_extra={"parameters": result_parameters(RENDERED)},
)
async def transcription_result(
    request: Request, context: Ctx, jobs: Jobs, owner: Owner, id: str
) -> Response:
    """Return the transcript, in the format that the form asked for or in the one of
    `response_format`, as often as it is wanted."""
    job = jobs.get(owner, id)
    form = form_of(job, request.query_params.multi_items())
    transcript = await jobs.transcript(owner, id)
    return body_of(form, transcript, layout_of(form, context.settings))


@router.delete("/{id}", responses=errors(404))
async def delete_transcription_job(jobs: Jobs, owner: Owner, id: str) -> DeletedTranscriptionJob:
    """Cancel a transcription that is not over, and delete it with its recording and its result."""
    await jobs.delete(owner, id)
    return DeletedTranscriptionJob(id=id, object="transcription.job", deleted=True)


@router.get(
    "/{id}/events",
    response_class=Response,
    responses=errors(404) | {200: {"content": event_stream("A segment, or the job as it stands.")}},
)
async def transcription_events(
    context: Ctx, jobs: Jobs, owner: Owner, telemetry: Telemetry, id: str
) -> Response:
    """Follow a transcription by server-sent events until it is over: its segments so far and those
    that come, its progress, and at last the job."""
    job = jobs.get(owner, id)
    return EventStream(
        _told(context, jobs, owner, job),
        heartbeat_seconds=context.settings.stream_heartbeat_seconds,
        on_abort=lambda: None,
        on_error=telemetry.stream_failed,
    )


async def accept(
    context: Context, session: TranscriptionSession, form: TranscriptionForm, upload: Upload
) -> Response:
    """Keep an upload as a job; answer with the job. Raises BadField, JobsFull, UploadNotStored."""
    sent = upload.fields
    fields = sent if isinstance(sent, list) else form_fields(sent)
    ask = Ask(
        owner_of(context, session.caller),
        session.slot.name,
        background_options(session, form),
        tuple(fields),
        upload.filename,
        webhook_of(context.settings, form.webhook_url),
    )
    job = await _of(context).submit(ask, upload.recording)
    session.telemetry.facts["job"] = job.id
    headers = {"location": f"{router.prefix}/{job.id}"}
    return JSONResponse(job_body(context.settings, job), 202, headers)


def webhook_of(settings: Settings, url: str | None) -> str | None:
    """Return the address that a client names for webhooks. Raises BadField. Its name is resolved
    when one is sent: it may mean another address by then."""
    if url is None:
        return None
    if settings.webhook_secret is None:
        message = "This server signs no webhooks: MARLINSCRIBE_WEBHOOK_SECRET is not set."
        raise BadField(message, param="webhook_url")
    try:
        checked(url, allow_inside=settings.allow_private_addresses)
    except AddressRefused as error:
        message = f"The field 'webhook_url' is not valid: {error}"
        raise BadField(message, param="webhook_url") from error
    return url


def owner_of(context: Context, caller: Caller) -> str:
    """Whose a caller's jobs are: the key's; everybody's where no keys are set."""
    return caller.name if context.settings.api_keys else ""


async def _told(
    context: Context, jobs: BackgroundJobs, owner: str, job: TranscriptionJob
) -> AsyncGenerator[Event]:
    number, words = 0, wants_words(form_of(job, ()))
    yield _status_event(context, job)
    async with aclosing(jobs.events(owner, job.id)) as news:
        async for one in news:
            if isinstance(one, Segment):
                yield segment_event(number, one, words=words)
                number += 1
            else:
                yield {"type": "transcription.job.progress", **progress_body(one)}
    over = jobs.get(owner, job.id)
    if over.status.is_active:
        raise ShuttingDown("The service is shutting down; the transcription goes on afterwards.")
    yield _status_event(context, over)
    yield DONE


def _status_event(context: Context, job: TranscriptionJob) -> dict[str, Any]:
    return {"type": f"transcription.job.{job.status}", "job": job_body(context.settings, job)}


def _of(context: Context) -> BackgroundJobs:
    if context.background is None:
        raise NotReady("The service is not up yet.", retry_after=2)
    return context.background
