"""A job as clients get it."""

from typing import Any, Literal

from typing_extensions import TypedDict

from app.jobs import Job, JobStatus


class Progress(TypedDict):
    """How many layers or recordings of the stage are done."""

    done: int
    total: int
    eta_seconds: float | None


class JobBody(TypedDict):
    """A job as clients see it. Times are Unix seconds.

    recipe: as it was asked for; of "auto", what was chosen, once it is.
    choice: how an "auto" recipe was chosen, null until it is: what was `asked`, seconds of a clip
        predicted and measured, losses, and what is uncertain of them.
    checkpoint, proof: null until they are there; `proof` is a summary of the report. The words that
    a checkpoint was calibrated on are left out where jobs are listed.
    """

    id: str
    object: Literal["quantization.job"]
    status: JobStatus
    stage: str
    progress: Progress | None
    source: str
    recipe: dict[str, Any]
    choice: dict[str, Any] | None
    proof_set: dict[str, Any]
    thresholds: dict[str, Any]
    promote: Literal["auto", "manual", "never"]
    checkpoint: dict[str, Any] | None
    proof: dict[str, Any] | None
    error: dict[str, str] | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    promoted_at: int | None
    demoted_at: int | None


class JobList(TypedDict):
    object: Literal["list"]
    data: list[JobBody]


class DeletedJob(TypedDict):
    id: str
    object: Literal["quantization.job"]
    deleted: Literal[True]


def job_body(job: Job) -> JobBody:
    """Return a job with all that it has found out so far."""
    asked, facts = job.request, job.facts
    recipe, choice = asked.get("recipe", {}), facts.get("choice")
    if choice:
        asked_for = recipe
        recipe = choice["recipe"]
        choice = {name: part for name, part in choice.items() if name != "recipe"}
        choice["asked"] = asked_for
    return JobBody(
        id=job.id,
        object="quantization.job",
        status=job.status,
        stage=job.stage,
        progress=job.progress,  # type: ignore[typeddict-item]  # the record's plain dict
        # A record of another version may lack some.
        source=asked.get("model", ""),
        recipe=recipe,
        choice=choice,
        proof_set=asked.get("proof", {}),
        thresholds=asked.get("thresholds", {}),
        promote=asked.get("promote", "never"),
        checkpoint=facts.get("checkpoint"),
        proof=facts.get("proof"),
        error=job.error,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        promoted_at=facts.get("promoted_at"),
        demoted_at=facts.get("demoted_at"),
    )


def listed_job_body(job: Job) -> JobBody:
    """Return a job without the words that its checkpoint was calibrated on: hundreds of texts a
    job."""
    told = job_body(job)
    made = told["checkpoint"]
    if made and made.get("calibration"):
        counts = {name: part for name, part in made["calibration"].items() if name != "texts"}
        told["checkpoint"] = made | {"calibration": counts}
    return told
