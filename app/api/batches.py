"""/v1/batches: many recordings asked for in one file, as OpenAI has it, with Groq's endpoint."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.api.background import Owner, webhook_of
from app.api.context import Ctx
from app.api.files import Kept
from app.api.json_body import read_json
from app.api.openapi import errors, json_request
from app.api.pages import Limit, ListBody, Page
from app.api.security import require_key
from app.background import ENDPOINT, WINDOW, Batch, BatchStatus, new_batch_id

_MOST_PAIRS = 16  # OpenAI's, and the two lengths below

Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]


class BatchRequest(BaseModel):
    """OpenAI's. completion_window: hours or days, such as 24h or 7d: what is not done by then is
    given up. webhook_url: not OpenAI's: gets batch.completed, batch.expired, batch.failed or
    batch.cancelled."""

    model_config = ConfigDict(extra="ignore")

    input_file_id: str
    endpoint: Literal["/v1/audio/transcriptions"]
    completion_window: Annotated[str, Field(pattern=WINDOW)] = "24h"
    metadata: Annotated[Metadata, Field(max_length=_MOST_PAIRS)] | None = None
    webhook_url: str | None = None


class RequestCounts(TypedDict):
    total: int
    completed: int
    failed: int


class BatchErrors(TypedDict):
    object: Literal["list"]
    data: list[dict[str, Any]]


class BatchBody(TypedDict):
    """OpenAI's batch. Times are Unix seconds; `expires_at` is when what is not done is given up."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


router = APIRouter(
    prefix="/v1/batches",
    tags=["background"],
    dependencies=[Depends(require_key)],
    responses=errors(401, 503),
)


@router.post(
    "",
    response_model=BatchBody,
    responses=errors(400, 404),
    openapi_extra=json_request(BatchRequest),
)
async def create_batch(request: Request, context: Ctx, owner: Owner, batches: Kept) -> BatchBody:
    """Transcribe every recording that the lines of a file ask for, in the background. A line that
    cannot be done fails alone."""
    wanted = await read_json(request, BatchRequest)
    batch = Batch(
        new_batch_id(),
        owner,
        wanted.input_file_id,
        wanted.completion_window,
        wanted.metadata,
        webhook_of(context.settings, wanted.webhook_url),
    )
    return _body(await batches.create(batch))


@router.get("", responses=errors(400))
async def list_batches(
    owner: Owner, batches: Kept, limit: Limit = 20, after: str | None = None
) -> ListBody[BatchBody]:
    """List the batches of this key, the newest first."""
    return Page(batches.all(owner), limit, after).body(_body)


@router.get("/{id}", responses=errors(404))
async def get_batch(owner: Owner, batches: Kept, id: str) -> BatchBody:
    """Return one batch: how many of its lines are done, and the files of its results and errors."""
    return _body(batches.get(owner, id))


@router.post("/{id}/cancel", responses=errors(404, 409))
async def cancel_batch(owner: Owner, batches: Kept, id: str) -> BatchBody:
    """Cancel a batch. What is done by then is in its files."""
    return _body(await batches.cancel(owner, id))


def _body(batch: Batch) -> BatchBody:
    told = BatchErrors(object="list", data=batch.errors) if batch.errors else None
    at = batch.times.get
    counts = RequestCounts(total=batch.total, completed=batch.completed, failed=batch.failed)
    return BatchBody(
        id=batch.id,
        object="batch",
        endpoint=ENDPOINT,
        errors=told,
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        status=batch.status,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        in_progress_at=at("in_progress"),
        finalizing_at=at("finalizing"),
        completed_at=at("completed"),
        failed_at=at("failed"),
        expired_at=at("expired"),
        cancelling_at=at("cancelling"),
        cancelled_at=at("cancelled"),
        request_counts=counts,
        metadata=batch.metadata,
    )
