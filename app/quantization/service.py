"""The quantization service: jobs that make, prove and promote checkpoints, and rollback."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from app.audio.decoding import Decoders
from app.checkpoints.cache import drop_half_made
from app.checkpoints.checkpoint import Checkpoint
from app.errors import JobConflict
from app.files import write_json
from app.folders import cache_faults
from app.jobs import Job, JobReporter, Jobs, JobStatus, Outcome
from app.process import in_daemon_thread
from app.quantization import canaries
from app.quantization.builder import CheckpointBuilder
from app.quantization.checks import from_thread
from app.quantization.job_records import check_promotable, of_another_version, request_of
from app.quantization.promotion import CheckpointGone, Promoter
from app.quantization.promotion_log import Promotion
from app.quantization.proof import Proof
from app.quantization.proving import versions
from app.quantization.request import QuantizationRequest
from app.quantization.retention import delete_traces
from app.quantization.run import run_job
from app.quantization.validation import RequestValidator, ValidatedRequest
from app.recordings.clip import Clip
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.lifecycle import Stage
from app.serving.loading import Loader
from app.serving.manager import EngineManager
from app.serving.names import unknown_model

log = logging.getLogger(__name__)


class Quantization:
    """Runs the service's jobs and promotes what they made. Implements the api's Quantizing. For the
    event loop's thread."""

    def __init__(
        self, loader: Loader, managers: Sequence[EngineManager], decoders: Decoders
    ) -> None:
        """`managers` are of the slots, the default's first."""
        settings = loader.settings
        self._loader = loader
        self._decoders = decoders
        self._managers = managers
        self._validator = RequestValidator(settings, loader.device)
        self._reports = settings.cache_dir / "reports"
        self._canaries = settings.cache_dir / "canaries"
        self._releases_device = settings.while_quantizing == "maintenance" or (
            settings.while_quantizing == "auto" and loader.device == "cuda"
        )
        self._builder = CheckpointBuilder(settings)
        self._promoters = {
            manager.slot.name: Promoter(loader, manager, self._builder, decoders)
            for manager in managers
        }
        self._closing = False
        self.jobs = Jobs(
            settings.cache_dir / "jobs",
            self._work,
            most_waiting=settings.max_jobs,
            on_taken=self._settle,
        )
        for manager in managers:
            manager.slot.lifecycle.listen(lambda _: self._settle())

    async def submit(self, request: QuantizationRequest) -> tuple[Job, bool]:
        """Return the job for a request, and whether it is new. Raises BadField, JobsFull,
        RecordNotKept."""
        decode = from_thread(self._decoders)

        def completed() -> ValidatedRequest:
            return self._validator.completed(request, versions(self._loader, self._builder), decode)

        taken = await in_daemon_thread(completed)
        await self._look_for_checkpoints(taken.key)
        job, new = self.jobs.submit(taken.request.as_json(), taken.key, asked=taken.content_hashes)
        await self.jobs.kept(job)
        return job, new

    async def report(self, job: Job) -> Proof:
        """Return a whole proof. Raises JobConflict where there is none yet, or one of another
        version."""
        try:
            text = await in_daemon_thread((self._reports / f"{job.id}.json").read_text, "utf-8")
        except FileNotFoundError:
            raise JobConflict("There is no proof yet.", code="no_proof") from None
        try:
            return Proof.model_validate_json(text)
        except ValidationError as error:
            raise of_another_version("proof") from error

    async def promote(self, job_id: str, own: Recordings | None, model: str | None = None) -> Job:
        """Begin to serve a proven checkpoint as `model`; `own` are canaries in place of the
        proof's. The job shows what becomes of it. Raises UnknownJob, UnknownModel, JobConflict,
        BadField."""
        promoter = self._promoter(model) if model else self._promoter_for(self.jobs.get(job_id))
        check_promotable(self.jobs.get(job_id))
        decode, read_own = from_thread(self._decoders), self._validator.canaries
        clips = await in_daemon_thread(read_own, own, decode) if own else None
        check_promotable(self.jobs.get(job_id))  # reading takes a while
        promoter.check_free()

        async def work(job: Job, reporter: JobReporter) -> Outcome:
            return await self._promote(promoter, job, reporter, clips)

        return self.jobs.start_beside(job_id, work)

    async def delete(self, job_id: str) -> None:
        """Forget a job that is over: its record, report, canaries and events. What it made stays in
        the cache. Raises UnknownJob, RecordNotKept, and JobConflict where it is not over or where
        it is what serves."""
        job = self.jobs.get(job_id)
        promoted = [one.current for one in self._promoters.values()]
        serves = job.status is JobStatus.PROMOTED or any(p and p.job == job_id for p in promoted)
        if serves and not job.status.active:
            raise JobConflict(
                "The job's checkpoint is what serves: roll it back before its job is deleted.",
                code="job_serves",
            )
        await self.jobs.delete(job_id)  # first: what is left after a crash is nobody's, and pruned
        settings = self._loader.settings
        await in_daemon_thread(delete_traces, settings.cache_dir, job_id)

    async def roll_back(self, model: str | None = None) -> dict[str, Any]:
        """Serve what was served as `model` before the last promotion; what that is. Raises
        UnknownModel, JobConflict where nothing was promoted, StartupError."""
        checkpoint = await self._promoter(model).roll_back()
        return {"fingerprint": checkpoint.fingerprint, "scheme": checkpoint.scheme}

    def checkpoint(self, model: str, enter: Callable[..., None]) -> Checkpoint:
        """Return what serves as `model` from the start. `enter` is called with the stages.
        Blocking. Raises StartupError."""
        self._tidy()
        return self._promoters[model].checkpoint(enter)

    def _tidy(self) -> None:
        """Delete what a process that was killed left half-made: it may be gigabytes."""
        try:
            for gone in drop_half_made(self._loader.settings.cache_dir):
                log.info("%s was half-made, by nobody any more: deleted", gone)
        except OSError as error:
            log.warning("what was left half-made stays: %s", error)

    def _promoter(self, model: str | None) -> Promoter:
        """Of a name, or of an alias that is listed: what is changed is not guessed. The default's
        for none. Raises UnknownModel."""
        for manager in self._managers:
            if model is None or model in manager.slot.names:
                return self._promoters[manager.slot.name]
        assert model is not None, "there is a default"
        raise unknown_model(model, self._promoters)

    def _promoter_for(self, job: Job) -> Promoter:
        """That of the model whose source the job's checkpoint was made of, else the default's."""
        made_of = job.request.get("model")
        served = self._loader.settings.served_models
        return self._promoter(next((n for n, source in served.items() if source == made_of), None))

    def stop(self) -> None:
        """Note that the process ends: what runs is cancelled next, and nothing is to serve
        again."""
        self._closing = True
        self._builder.stop()

    async def close(self) -> None:
        """Interrupt what runs beside the queue."""
        await self.jobs.close()

    # What a job does

    async def _work(self, job: Job, reporter: JobReporter) -> Outcome:
        request = request_of(job)
        try:
            if self._releases_device:
                for manager in self._managers:
                    await manager.release_device("a checkpoint is being made and proven")
            idle_priority = not self._releases_device
            _, proof = await run_job(
                request, self._loader, reporter, idle_priority, job.facts, self._decoders,
                self._used_since,
            )  # fmt: skip
            assert proof is not None, "a request is completed with recordings to prove by"
            await in_daemon_thread(self._keep, job, request, proof)
            reporter.facts(proof=proof.summary())
            if not proof.passed:
                return Outcome(JobStatus.REJECTED)
            if request.promote != "auto":
                return Outcome(JobStatus.PROVEN)
            try:
                promoter = self._promoter_for(job)
                return await self._promote(
                    promoter, job, reporter, None, released_device=self._releases_device
                )
            except Exception as error:  # whatever it is, what was proven stays so
                return Outcome(JobStatus.PROVEN, error=error)
        finally:
            if self._releases_device and not self._closing:
                reporter.commit()
                for manager in self._managers:
                    await manager.resume_serving()

    def _used_since(self, moment: float) -> bool:
        """Whether an engine that serves has decoded anything since a moment."""
        return any(manager.used_since(moment) for manager in self._managers)

    def _keep(self, job: Job, request: QuantizationRequest, proof: Proof) -> None:
        with cache_faults(self._loader.settings.cache_dir):
            write_json(self._reports / f"{job.id}.json", proof.model_dump(mode="json"))
            if proof.passed and request.proof is not None:
                picked = canaries.chosen(read(request.proof), proof)
                canaries.keep(self._canaries / job.id, picked)

    async def _promote(
        self,
        promoter: Promoter,
        job: Job,
        reporter: JobReporter,
        own: list[Clip] | None,
        *,
        released_device: bool = False,
    ) -> Outcome:
        """Promote a job's checkpoint. Raises StartupError, with what served before serving
        again."""
        reporter.commit()
        reporter.stage("promoting")
        fingerprint, proof = job.facts["checkpoint"]["fingerprint"], job.facts["proof"]
        promotion = Promotion(fingerprint, job.id, int(time.time()), proof)
        flock = await in_daemon_thread(self._flock, job, own)
        try:
            await promoter.promote(promotion, flock, released_device=released_device)
        except CheckpointGone as error:  # it stands for nothing any more, and may be made again
            return Outcome(JobStatus.FAILED, error=error)
        return Outcome(JobStatus.PROMOTED, {"promoted_at": promotion.since})

    def _flock(self, job: Job, own: list[Clip] | None) -> list[canaries.Canary]:
        if own:
            return canaries.given(own, job.facts["proof"])
        with cache_faults(self._loader.settings.cache_dir):
            return canaries.kept(self._canaries / job.id)

    async def _look_for_checkpoints(self, key: str) -> None:
        """Mark jobs as failed whose checkpoint is gone, so that it is made again when it is asked
        for."""
        for job in self.jobs.all():
            made = job.facts.get("checkpoint") if job.key == key else None
            if not made or await in_daemon_thread(self._builder.store.has, made["fingerprint"]):
                continue
            if job.status.is_reusable and not job.status.active:
                job.error = {"code": CheckpointGone.code, "message": "The checkpoint is gone."}
                self.jobs.amend(job, JobStatus.FAILED)

    def _settle(self) -> None:
        """Whenever an engine begins to serve, have the jobs say what serves: whatever was meant to
        be, by a record or by who promotes. Not before all slots have something to serve."""
        served = [manager.checkpoint for manager in self._managers]
        ready = any(manager.stage is Stage.READY for manager in self._managers)
        if not ready or None in served:
            return
        promoted = {
            checkpoint.provenance["job"]: checkpoint.provenance["promoted_at"]
            for checkpoint in served
            if checkpoint and "job" in checkpoint.provenance
        }
        for job in self.jobs.all():
            if job.status.active or (job.id in promoted) == (job.status is JobStatus.PROMOTED):
                continue
            if job.id in promoted:
                self.jobs.amend(job, JobStatus.PROMOTED, promoted_at=promoted[job.id])
            else:
                self.jobs.amend(job, JobStatus.PROVEN, demoted_at=int(time.time()))
