"""A quantization job: make a checkpoint, prove it, promote it, roll it back."""

import logging
import time
from collections.abc import Callable
from typing import Any

from app.checkpoints.calibration import Clip, read
from app.checkpoints.order import Order
from app.checkpoints.proof import Proof
from app.checkpoints.recipe import Recordings
from app.checkpoints.source import resolve
from app.errors import CacheUnusable, JobConflict, MarlinscribeError
from app.files import write_json
from app.jobs import Job, Jobs, JobStatus, Outcome, Teller
from app.process import in_daemon_thread, stoppably
from app.quantization import canaries
from app.quantization.intake import Intake
from app.quantization.making import Checkpoint, Maker, cache_faults, check_recipe, checkpoint_of
from app.quantization.promotions import Promotion, Promotions
from app.quantization.proving import Prover, from_thread
from app.serving.hosting import Host
from app.serving.loading import Loader, Service
from app.startup import Stage, Startup

log = logging.getLogger(__name__)

_NICENESS = 10  # of a quantizer beside an engine that serves


async def make_and_prove(
    order: Order, loader: Loader, tell: Teller, niceness: int = 0
) -> tuple[Checkpoint, Proof | None]:
    """What an order asks for, promotion aside; there is a proof where it has recordings for one.
    The order is complete, as Intake leaves it; `niceness` is the quantizer's. Raises StartupError,
    EngineDied."""
    assert order.model is not None
    maker = Maker(loader.settings, niceness)
    tell.stage("resolving")
    source = await in_daemon_thread(resolve, order.model)
    check_recipe(order.recipe, source, loader.device)
    tell.stage("quantizing")
    entry = await stoppably(maker.stop, maker.make, source, order.recipe, from_thread(tell))
    candidate = Checkpoint.of(entry)
    tell.facts(checkpoint=_described(candidate, entry.manifest))
    if order.proof is None:
        return candidate, None
    proof = await Prover(loader, maker).prove(
        Checkpoint(source, source.folder), candidate, order.proof, order.thresholds, tell
    )
    proof.run["making"] = entry.manifest["figures"]
    return candidate, proof


def _described(candidate: Checkpoint, manifest: dict[str, Any]) -> dict[str, Any]:
    figures = manifest["figures"]
    return {
        "fingerprint": candidate.fingerprint,
        "scheme": candidate.scheme,
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "made_at": manifest["made_at"],
        "rounded_to_nearest": figures.get("rounded_to_nearest", []),
        "calibration": figures.get("calibration"),
    }


class Quantization:
    """The service's jobs and what they may do to it. Implements the api's Quantizing. For the event
    loop's thread."""

    def __init__(self, loader: Loader, host: Host, startup: Startup) -> None:
        settings = loader.settings
        self._loader = loader
        self._host = host
        self._startup = startup
        self._intake = Intake(settings, loader.device)
        self._promotions = Promotions(settings)
        self._reports = settings.cache_dir / "reports"
        self._canaries = settings.cache_dir / "canaries"
        self._makes_room = settings.while_quantizing == "maintenance" or (
            settings.while_quantizing == "auto" and loader.device == "cuda"
        )
        self._maker = Maker(settings)
        self._closing = False
        self._exchanging = False  # at somebody's word
        self.jobs = Jobs(settings.cache_dir / "jobs", self._work, most_waiting=settings.max_jobs)

    async def submit(self, order: Order) -> tuple[Job, bool]:
        """The job for an order, and whether it is new. Raises BadField, JobsFull."""

        def completed() -> tuple[Order, str]:
            return self._intake.completed(order, self._maker.quantizer.versions())

        whole, key = await in_daemon_thread(completed)
        return self.jobs.submit(whole.as_json(), key)

    async def report(self, job: Job) -> Proof:
        """A proof, whole. Raises JobConflict where there is none yet."""
        try:
            text = await in_daemon_thread((self._reports / f"{job.id}.json").read_text, "utf-8")
        except FileNotFoundError:
            raise JobConflict("There is no proof yet.", code="no_proof") from None
        return Proof.model_validate_json(text)

    async def promote(self, job_id: str, own: Recordings | None) -> Job:
        """Begin to serve a proven checkpoint; `own` are canaries in place of the proof's. What
        becomes of it shows in the job. Raises UnknownJob, JobConflict, BadField."""
        self._check_promotable(self.jobs.get(job_id))
        clips = await in_daemon_thread(self._intake.canaries, own) if own else None
        self._take_turn()

        async def work(job: Job, tell: Teller) -> Outcome:
            try:
                return await self._promote(job, tell, clips)
            finally:
                self._exchanging = False

        try:
            return self.jobs.start_beside(job_id, work)
        except BaseException:
            self._exchanging = False
            raise

    async def roll_back(self) -> dict[str, Any]:
        """Serve what was served before the last promotion; what that is. Raises JobConflict where
        nothing was promoted, StartupError."""
        promoted = self._promotions.current
        if promoted is None:
            raise JobConflict(
                "Nothing was promoted that could be rolled back.", code="no_promotion"
            )
        self._take_turn()
        try:
            before = self._promotions.before
            checkpoint = await in_daemon_thread(self._of, before, _quietly)
            await self._host.exchange(checkpoint, _unchecked)
        finally:
            self._exchanging = False
        try:
            self._promotions.pop()
        except OSError as error:
            log.error("a restart will serve %s again: %s", promoted.fingerprint, error)
        self._record(promoted, JobStatus.PROVEN)
        self._record(before, JobStatus.PROMOTED)
        return {"fingerprint": checkpoint.fingerprint, "scheme": checkpoint.scheme}

    def checkpoint(self, enter: Callable[..., None]) -> Checkpoint:
        """What is to be served from the start: the last promoted, or what the settings ask for.
        `enter` hears of the stages. Blocking. Raises StartupError."""
        return self._of(self._promotions.current, enter)

    def stop(self) -> None:
        """The process ends, and what runs is cancelled next: nothing is to serve again."""
        self._closing = True
        self._maker.stop()

    async def close(self) -> None:
        """Interrupt what runs beside the queue."""
        await self.jobs.close()

    # What a job does

    async def _work(self, job: Job, tell: Teller) -> Outcome:
        order = Order.model_validate(job.request)
        try:
            if self._makes_room:
                await self._host.make_room("a checkpoint is being made and proven")
            niceness = 0 if self._makes_room else _NICENESS
            _, proof = await make_and_prove(order, self._loader, tell, niceness)
            assert proof is not None, "an order is completed with recordings to prove by"
            await in_daemon_thread(self._keep, job, order, proof)
            tell.facts(proof=proof.summary())
            if not proof.passed:
                return Outcome(JobStatus.REJECTED)
            if order.promote != "auto":
                return Outcome(JobStatus.PROVEN)
            try:
                return await self._promote(job, tell, None)
            except MarlinscribeError as error:
                return Outcome(JobStatus.PROVEN, error=error)
        finally:
            if self._makes_room and not self._closing:
                await self._host.reopen()

    def _keep(self, job: Job, order: Order, proof: Proof) -> None:
        with cache_faults(self._loader.settings.cache_dir):
            write_json(self._reports / f"{job.id}.json", proof.model_dump(mode="json"))
            if proof.passed and order.proof is not None:
                picked = canaries.chosen(read(order.proof), proof)
                canaries.keep(self._canaries / job.id, picked)

    async def _promote(self, job: Job, tell: Teller, own: list[Clip] | None) -> Outcome:
        """Raises StartupError, with what served before serving again."""
        tell.commit()
        tell.stage("promoting")
        fingerprint, proof = job.facts["checkpoint"]["fingerprint"], job.facts["proof"]
        promotion = Promotion(fingerprint, job.id, int(time.time()), proof)
        checkpoint = await in_daemon_thread(self._found, promotion)
        if checkpoint is None:
            raise CacheUnusable(f"The checkpoint {fingerprint} is gone.", "Make it again.")
        kept = self._canaries / job.id
        flock = canaries.given(own, proof) if own else await in_daemon_thread(canaries.kept, kept)
        previous = self._promotions.current

        async def check(service: Service) -> None:
            await canaries.check(service, flock)
            # Before a client is let in: what is served and what a restart serves are one.
            with cache_faults(self._loader.settings.cache_dir):
                self._promotions.push(promotion)

        await self._host.exchange(checkpoint, check)
        if previous and previous.job != job.id:
            self._record(previous, JobStatus.PROVEN)
        return Outcome(JobStatus.PROMOTED, {"promoted_at": promotion.since})

    def _record(self, promotion: Promotion | None, status: JobStatus) -> None:
        """What became of a promotion, in its job, if there still is one."""
        when = "promoted_at" if status is JobStatus.PROMOTED else "demoted_at"
        for job in self.jobs.all():
            if promotion and job.id == promotion.job and not job.status.active:
                self.jobs.amend(job, status, **{when: int(time.time())})

    def _of(self, promotion: Promotion | None, enter: Callable[..., None]) -> Checkpoint:
        """What a promotion stands for; what the settings ask for where there is none, or where
        its checkpoint is gone."""
        found = self._found(promotion) if promotion else None
        if found:
            return found
        if promotion:
            log.error("the promoted checkpoint %s is gone", promotion.fingerprint)
        loader = self._loader
        return checkpoint_of(loader.settings, loader.device, self._maker, enter)

    def _found(self, promotion: Promotion) -> Checkpoint | None:
        entry = self._maker.store.find(promotion.fingerprint)
        since = {"promoted_at": promotion.since}
        return (
            Checkpoint.of(entry, job=promotion.job, proof=promotion.proof, **since)
            if entry
            else None
        )

    def _check_promotable(self, job: Job) -> None:
        if job.status is not JobStatus.PROVEN:
            raise JobConflict(f"The job is {job.status}; only what is proven is promoted.")
        order = Order.model_validate(job.request)
        if order.promote == "never":
            raise JobConflict("The order said never to promote it.", code="never_promoted")
        if order.recipe.emulate:
            raise JobConflict("It is emulated: nothing serves it.", code="emulated")

    def _take_turn(self) -> None:
        """One exchange at a time, and only of what serves. Raises JobConflict."""
        if self._exchanging or self._host.busy:
            raise JobConflict("Another checkpoint is being exchanged.", code="exchange_under_way")
        if self._startup.status.stage is not Stage.READY:
            raise JobConflict(
                f"The service is not ready ({self._startup.status.stage}).", code="not_ready"
            )
        self._exchanging = True


def _quietly(*_: Any, **__: Any) -> None:
    """The service is ready meanwhile, so its stages are not told."""


async def _unchecked(_: Service) -> None:
    """What served before is not proven again."""
