"""A transcription in the background as clients get it."""

from collections.abc import Iterable
from typing import Literal

from typing_extensions import TypedDict

from app.api.forms import TranscriptionForm
from app.api.openapi import ErrorFields
from app.api.parsing import parse
from app.background import Progress, Status, TranscriptionJob
from app.settings import Settings

_DAY = 86_400  # seconds
# What a query may say anew of what the form said.
RENDERED = (
    "response_format", "timestamp_granularities", "include", "max_line_width", "max_line_count",
)  # fmt: skip


class ProgressBody(TypedDict):
    """Seconds of the recording: how many are done, how many there are, and how long the others may
    take; null where that is not known yet."""

    seconds_done: float
    seconds_total: float | None
    eta_seconds: float | None


class TranscriptionJobBody(TypedDict):
    """A transcription in the background. Times are Unix seconds; `expires_at` is when what is over
    is deleted. `error` is OpenAI's."""

    id: str
    object: Literal["transcription.job"]
    status: Status
    model: str
    filename: str
    response_format: str
    progress: ProgressBody
    error: ErrorFields | None
    created_at: int
    started_at: int | None
    completed_at: int | None
    expires_at: int | None


class DeletedTranscriptionJob(TypedDict):
    id: str
    object: Literal["transcription.job"]
    deleted: Literal[True]


def job_body(settings: Settings, job: TranscriptionJob) -> TranscriptionJobBody:
    """Return a job as clients get it."""
    days = settings.background_days
    return TranscriptionJobBody(
        id=job.id,
        object="transcription.job",
        status=job.status,
        model=job.ask.model,
        filename=job.ask.filename,
        response_format=form_of(job, ()).response_format,
        progress=progress_body(job.progress),
        error=job.error,  # type: ignore[typeddict-item]  # the record's plain dict
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.finished_at,
        expires_at=job.finished_at and int(job.finished_at + days * _DAY),
    )


def progress_body(progress: Progress) -> ProgressBody:
    """Return how far a job is."""
    return ProgressBody(
        seconds_done=progress.seconds_done,
        seconds_total=progress.seconds_total,
        eta_seconds=progress.eta_seconds,
    )


def form_of(job: TranscriptionJob, query: Iterable[tuple[str, str]]) -> TranscriptionForm:
    """The form of a job with what a query says anew. What went with one format need not go with
    another. Raises BadField."""
    asked = [(name, value) for name, value in query if _bare(name) in RENDERED and value]
    anew = {_bare(name) for name, _ in asked}
    if "response_format" in anew:
        anew |= set(RENDERED)
    sent = [(name, value) for name, value in job.ask.fields if _bare(name) not in anew]
    return parse(TranscriptionForm, [*sent, *asked])


def _bare(name: str) -> str:
    return name.partition("[")[0]
