"""A quantization job: make a checkpoint, prove it, promote it, roll it back."""

import logging
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from app.checkpoints.checkpoint import Checkpoint
from app.errors import JobConflict
from app.files import write_json
from app.jobs import Job, JobReporter, Jobs, JobStatus, Outcome
from app.process import in_daemon_thread
from app.quantization import canaries
from app.quantization.builder import CheckpointBuilder, cache_faults
from app.quantization.promotion import CheckpointGone, Promoter
from app.quantization.promotion_log import Promotion
from app.quantization.proof import Proof
from app.quantization.proving import versions
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.quantization.validation import RequestValidator, ValidatedRequest
from app.recordings.read import Clip, read
from app.recordings.spec import Recordings
from app.serving.lifecycle import Lifecycle, Stage, Status
from app.serving.loading import Loader
from app.serving.manager import EngineManager

log = logging.getLogger(__name__)


class Quantization:
    """The service's jobs and what they may do to it. Implements the api's Quantizing. For the event
    loop's thread."""

    def __init__(self, loader: Loader, host: EngineManager, startup: Lifecycle) -> None:
        settings = loader.settings
        self._loader = loader
        self._host = host
        self._intake = RequestValidator(settings, loader.device)
        self._reports = settings.cache_dir / "reports"
        self._canaries = settings.cache_dir / "canaries"
        self._releases_device = settings.while_quantizing == "maintenance" or (
            settings.while_quantizing == "auto" and loader.device == "cuda"
        )
        self._maker = CheckpointBuilder(settings)
        self._promoter = Promoter(loader, host, startup, self._maker)
        self._closing = False
        self.jobs = Jobs(
            settings.cache_dir / "jobs",
            self._work,
            most_waiting=settings.max_jobs,
            on_taken=lambda: self._settle(startup.status),
        )
        startup.listen(self._settle)

    async def submit(self, order: QuantizationRequest) -> tuple[Job, bool]:
        """The job for an order, and whether it is new. Raises BadField, JobsFull, RecordNotKept."""

        def completed() -> ValidatedRequest:
            return self._intake.completed(order, versions(self._loader, self._maker))

        taken = await in_daemon_thread(completed)
        await self._look_for_checkpoints(taken.key)
        job, new = self.jobs.submit(taken.order.as_json(), taken.key, asked=taken.content_hashes)
        await self.jobs.kept(job)
        return job, new

    async def report(self, job: Job) -> Proof:
        """A proof, whole. Raises JobConflict where there is none yet, or one of another version."""
        try:
            text = await in_daemon_thread((self._reports / f"{job.id}.json").read_text, "utf-8")
        except FileNotFoundError:
            raise JobConflict("There is no proof yet.", code="no_proof") from None
        try:
            return Proof.model_validate_json(text)
        except ValidationError as error:
            raise _of_another_version("proof") from error

    async def promote(self, job_id: str, own: Recordings | None) -> Job:
        """Begin to serve a proven checkpoint; `own` are canaries in place of the proof's. What
        becomes of it shows in the job. Raises UnknownJob, JobConflict, BadField."""
        _check_promotable(self.jobs.get(job_id))
        clips = await in_daemon_thread(self._intake.canaries, own) if own else None
        _check_promotable(self.jobs.get(job_id))  # reading takes a while
        self._promoter.check_free()

        async def work(job: Job, tell: JobReporter) -> Outcome:
            return await self._promote(job, tell, clips)

        return self.jobs.start_beside(job_id, work)

    async def roll_back(self) -> dict[str, Any]:
        """Serve what was served before the last promotion; what that is. Raises JobConflict where
        nothing was promoted, StartupError."""
        checkpoint = await self._promoter.roll_back()
        return {"fingerprint": checkpoint.fingerprint, "scheme": checkpoint.scheme}

    def checkpoint(self, enter: Callable[..., None]) -> Checkpoint:
        """What is to be served from the start. `enter` hears of the stages. Blocking. Raises
        StartupError."""
        return self._promoter.checkpoint(enter)

    def stop(self) -> None:
        """The process ends, and what runs is cancelled next: nothing is to serve again."""
        self._closing = True
        self._maker.stop()

    async def close(self) -> None:
        """Interrupt what runs beside the queue."""
        await self.jobs.close()

    # What a job does

    async def _work(self, job: Job, tell: JobReporter) -> Outcome:
        order = _order_of(job)
        try:
            if self._releases_device:
                await self._host.release_device("a checkpoint is being made and proven")
            idle_priority = not self._releases_device
            asked = job.facts.get("asked")
            _, proof = await run_job(order, self._loader, tell, idle_priority, asked)
            assert proof is not None, "an order is completed with recordings to prove by"
            await in_daemon_thread(self._keep, job, order, proof)
            tell.facts(proof=proof.summary())
            if not proof.passed:
                return Outcome(JobStatus.REJECTED)
            if order.promote != "auto":
                return Outcome(JobStatus.PROVEN)
            try:
                return await self._promote(job, tell, None, released_device=self._releases_device)
            except Exception as error:  # whatever it is, what was proven stays so
                return Outcome(JobStatus.PROVEN, error=error)
        finally:
            if self._releases_device and not self._closing:
                tell.commit()
                await self._host.resume_serving()

    def _keep(self, job: Job, order: QuantizationRequest, proof: Proof) -> None:
        with cache_faults(self._loader.settings.cache_dir):
            write_json(self._reports / f"{job.id}.json", proof.model_dump(mode="json"))
            if proof.passed and order.proof is not None:
                picked = canaries.chosen(read(order.proof), proof)
                canaries.keep(self._canaries / job.id, picked)

    async def _promote(
        self, job: Job, tell: JobReporter, own: list[Clip] | None, *, released_device: bool = False
    ) -> Outcome:
        """Raises StartupError, with what served before serving again."""
        tell.commit()
        tell.stage("promoting")
        fingerprint, proof = job.facts["checkpoint"]["fingerprint"], job.facts["proof"]
        promotion = Promotion(fingerprint, job.id, int(time.time()), proof)
        flock = await in_daemon_thread(self._flock, job, own)
        try:
            await self._promoter.promote(promotion, flock, released_device=released_device)
        except CheckpointGone as error:  # it stands for nothing any more, and may be made again
            return Outcome(JobStatus.FAILED, error=error)
        return Outcome(JobStatus.PROMOTED, {"promoted_at": promotion.since})

    def _flock(self, job: Job, own: list[Clip] | None) -> list[canaries.Canary]:
        if own:
            return canaries.given(own, job.facts["proof"])
        with cache_faults(self._loader.settings.cache_dir):
            return canaries.kept(self._canaries / job.id)

    async def _look_for_checkpoints(self, key: str) -> None:
        """A job whose checkpoint is gone stands for nothing any more: it is to be made again."""
        for job in self.jobs.all():
            made = job.facts.get("checkpoint") if job.key == key else None
            if not made or await in_daemon_thread(self._maker.store.has, made["fingerprint"]):
                continue
            if job.status.stands and not job.status.active:
                job.error = {"code": CheckpointGone.code, "message": "The checkpoint is gone."}
                self.jobs.amend(job, JobStatus.FAILED)

    def _settle(self, status: Status) -> None:
        """Whenever an engine begins to serve, have the jobs say what it serves: whatever was meant
        to be, by a record or by who promotes."""
        served = self._host.checkpoint
        if status.stage is not Stage.READY or served is None:
            return
        proven_by = served.provenance.get("job")
        for job in self.jobs.all():
            if job.status.active or (job.id == proven_by) == (job.status is JobStatus.PROMOTED):
                continue
            if job.id == proven_by:
                since = served.provenance["promoted_at"]
                self.jobs.amend(job, JobStatus.PROMOTED, promoted_at=since)
            else:
                self.jobs.amend(job, JobStatus.PROVEN, demoted_at=int(time.time()))


def _check_promotable(job: Job) -> None:
    """Raises JobConflict."""
    if job.status is not JobStatus.PROVEN:
        raise JobConflict(f"The job is {job.status}; only what is proven is promoted.")
    order = _order_of(job)
    if order.promote == "never":
        raise JobConflict("The order said never to promote it.", code="never_promoted")
    if order.recipe.emulate:
        raise JobConflict("It is emulated: nothing serves it.", code="emulated")


def _order_of(job: Job) -> QuantizationRequest:
    """Raises JobConflict."""
    try:
        return QuantizationRequest.model_validate(job.request)
    except ValidationError as error:
        raise _of_another_version("record") from error


def _of_another_version(what: str) -> JobConflict:
    return JobConflict(
        f"The job's {what} is of another version of Marlinscribe. Ask for the same again.",
        code="another_version",
    )
