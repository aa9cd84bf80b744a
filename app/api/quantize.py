"""The /quantize routes: jobs that make, prove and promote checkpoints, for whoever holds the admin
key."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from app.api.context import Ctx, Quantizing
from app.api.events import DONE, Event, EventStream
from app.api.job_body import DeletedJob, JobBody, JobList, job_body, listed_job_body
from app.api.json_body import read_json
from app.api.openapi import errors, event_stream, json_request
from app.api.report import page
from app.api.security import require_admin_key, require_admin_key_or_password
from app.api.telemetry import Telemetry
from app.errors import NotReady
from app.quantization.request import QuantizationRequest
from app.recordings.spec import Recordings

_HAPPENINGS = event_stream("What happened, as JSON, or an error's envelope.")
_REPORT = {
    "text/html": {"schema": {"type": "string"}},
    "application/json": {"schema": {"type": "object"}},
}
_HOST = r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])"
_ADDRESS = re.compile(rf"(https://)?{_HOST}(:[0-9]+)?(/[A-Za-z0-9._/-]*)?")


class Promotion(BaseModel):
    """canaries: recordings with their words that the promoted checkpoint must hear before clients
    are let in; some of the proof's where none are given. model: the name that it is to be served
    as, where several are served; else the one whose source it was made of."""

    model_config = ConfigDict(extra="forbid")

    canaries: Recordings | None = None
    model: str | None = None


class Rollback(BaseModel):
    """model: the name of the model that is rolled back; the default where none is given."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None


class RolledBack(TypedDict):
    """The checkpoint that serves now. fingerprint: null where the service did not make it."""

    object: Literal["model.rollback"]
    fingerprint: str | None
    scheme: str


async def _quantizing(context: Ctx) -> Quantizing:
    if context.quantization is None:
        raise NotReady("The service is not up yet.", retry_after=2)
    context.quantization.jobs.check_here()
    return context.quantization


Jobs = Annotated[Quantizing, Depends(_quantizing)]

router = APIRouter(tags=["quantization"], responses=errors(401, 403, 503))
_admin = Depends(require_admin_key)


@router.post(
    "/quantize",
    status_code=202,
    dependencies=[_admin],
    response_model=JobBody,
    responses=errors(400, 429)
    | {200: {"model": JobBody, "description": "The job for the same order, as it stands"}},
    openapi_extra=json_request(QuantizationRequest),
)
async def submit(request: Request, quantizing: Jobs, response: Response) -> JobBody:
    """Make a checkpoint, prove it, and promote it where that is asked for. A request that is under
    way or done already is answered with its job."""
    order = await read_json(request, QuantizationRequest)
    job, new = await quantizing.submit(order)
    response.status_code = 202 if new else 200
    response.headers["location"] = f"/quantize/{job.id}"
    return job_body(job)


@router.get("/quantize", dependencies=[_admin])
async def jobs(quantizing: Jobs) -> JobList:
    """List the jobs, the newest first."""
    return JobList(object="list", data=[listed_job_body(job) for job in quantizing.jobs.all()])


@router.get("/quantize/{id}", dependencies=[_admin], responses=errors(404))
async def job(quantizing: Jobs, id: str) -> JobBody:
    """Return one job."""
    return job_body(quantizing.jobs.get(id))


@router.delete("/quantize/{id}", dependencies=[_admin], responses=errors(404, 409))
async def cancel(quantizing: Jobs, id: str) -> JobBody:
    """Cancel a job that is not over. What it has made whole stays in the cache."""
    return job_body(quantizing.jobs.cancel(id))


@router.delete("/quantize/{id}/record", dependencies=[_admin], responses=errors(404, 409))
async def delete(quantizing: Jobs, id: str) -> DeletedJob:
    """Delete a job that is over, with its record, report, canaries and events; not one that is
    under way, and not the one whose checkpoint serves. What it has made stays in the cache, where
    `marlinscribe cache prune` finds it."""
    await quantizing.delete(id)
    return DeletedJob(id=id, object="quantization.job", deleted=True)


@router.post("/quantize/{id}/resume", status_code=202, dependencies=[_admin],
             responses=errors(404, 409))  # fmt: skip
async def resume(quantizing: Jobs, id: str) -> JobBody:
    """Queue a job again that was interrupted, cancelled or has failed. Its finished steps are not
    done twice."""
    return job_body(quantizing.jobs.resume(id))


@router.get(
    "/quantize/{id}/events",
    dependencies=[_admin],
    response_class=Response,
    responses=errors(404) | {200: {"content": _HAPPENINGS}},
)
async def events(context: Ctx, quantizing: Jobs, telemetry: Telemetry, id: str) -> Response:
    """Follow a job by server-sent events until it is over: stages, progress with the layer, its
    loss and an ETA, and its status at last."""
    quantizing.jobs.get(id)
    return EventStream(
        _events(quantizing.jobs.events(id)),
        heartbeat_seconds=context.settings.stream_heartbeat_seconds,
        on_abort=lambda: None,
        on_error=telemetry.stream_failed,
    )


@router.post(
    "/quantize/{id}/promote",
    status_code=202,
    dependencies=[_admin],
    response_model=JobBody,
    responses=errors(400, 404, 409),
    openapi_extra=json_request(Promotion, required=False),
)
async def promote(request: Request, quantizing: Jobs, id: str) -> JobBody:
    """Serve a proven checkpoint. Requests under way finish, canaries are transcribed, and the
    checkpoint that served before comes back where they differ from the proof. The job shows what
    becomes of it."""
    wanted = await read_json(request, Promotion, empty=Promotion())
    return job_body(await quantizing.promote(id, wanted.canaries, wanted.model))


@router.get(
    "/quantize/{id}/report",
    dependencies=[Depends(require_admin_key_or_password)],
    response_model=None,
    responses=errors(404, 409) | {200: {"content": _REPORT}},
)
async def report(request: Request, quantizing: Jobs, id: str) -> Response:
    """Return the proof: a page, or JSON where that is asked for (`Accept: application/json`). A
    browser may give the admin key as a password, with any name."""
    one = quantizing.jobs.get(id)
    proof = await quantizing.report(one)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(proof.model_dump(mode="json"))
    return HTMLResponse(await asyncio.to_thread(page, job_body(one), proof, _address(request)))


@router.post(
    "/models/rollback",
    dependencies=[_admin],
    response_model=RolledBack,
    responses=errors(400, 404, 409),
    openapi_extra=json_request(Rollback, required=False),
)
async def roll_back(request: Request, quantizing: Jobs) -> RolledBack:
    """Serve what was served before the last promotion; answer when it serves."""
    wanted = await read_json(request, Rollback, empty=Rollback())
    served = await quantizing.roll_back(wanted.model)
    return RolledBack(
        object="model.rollback", fingerprint=served["fingerprint"], scheme=served["scheme"]
    )


async def _events(happening: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[Event]:
    async with aclosing(happening):
        async for event in happening:
            yield event | {"type": f"quantization.job.{event['type']}"}
    yield DONE


def _address(request: Request) -> str:
    """Where whoever asks has reached the service, behind a published port or a proxy, for a shell
    to ask it again: nothing but an address may stand there."""
    base = str(request.base_url).rstrip("/").removeprefix("http://")  # curl's own default
    return base if _ADDRESS.fullmatch(base) else "localhost:8000"
