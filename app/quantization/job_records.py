"""A job's record as a request, and whether what it made may be promoted."""

from pydantic import ValidationError

from app.checkpoints.recipe import Recipe
from app.errors import JobConflict
from app.jobs import Job, JobStatus
from app.quantization.request import QuantizationRequest


def check_promotable(job: Job) -> None:
    """Check that a job's candidate may be promoted. Raises JobConflict."""
    if job.status is not JobStatus.PROVEN:
        raise JobConflict(f"The job is {job.status}; only what is proven is promoted.")
    request = request_of(job)
    if request.promote == "never":
        raise JobConflict("The request said never to promote it.", code="never_promoted")
    if isinstance(request.recipe, Recipe) and request.recipe.emulate:
        raise JobConflict("It is emulated: nothing serves it.", code="emulated")


def request_of(job: Job) -> QuantizationRequest:
    """Return a job's request. Raises JobConflict where it is of another version."""
    try:
        return QuantizationRequest.model_validate(job.request)
    except ValidationError as error:
        raise of_another_version("record") from error


def of_another_version(what: str) -> JobConflict:
    """Return the error of a part of a job that this version cannot read."""
    return JobConflict(
        f"The job's {what} is of another version of Marlinscribe. Ask for the same again.",
        code="another_version",
    )
