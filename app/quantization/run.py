"""The run of a quantization job: a checkpoint is made and proven."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.audio.decoding import Decoders
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.content_hashes import check_unchanged, content_hashes
from app.checkpoints.device import fingerprint
from app.checkpoints.in_use import in_use
from app.checkpoints.recipe import Recipe
from app.checkpoints.tuned import Tuned
from app.jobs import JobReporter
from app.process import in_daemon_thread, run_interruptible
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.builder import CheckpointBuilder
from app.quantization.choosing import choose, timed
from app.quantization.measuring import Measurer, UsedSince
from app.quantization.proof import Proof
from app.quantization.proving import Prover, from_thread
from app.quantization.request import QuantizationRequest
from app.quantization.settings_recipe import check_recipe
from app.serving.loading import Loader
from app.sources.resolve import resolve
from app.sources.source import Source


async def run_job(
    request: QuantizationRequest,
    loader: Loader,
    reporter: JobReporter,
    idle_priority: bool = False,
    known: Mapping[str, Any] | None = None,
    decoders: Decoders | None = None,
    used_since: UsedSince = lambda _: False,
) -> tuple[Checkpoint, Proof | None]:
    """Do what a request asks for, but for its promotion; return the candidate, and its proof where
    the request has recordings for one. The request is complete, as RequestValidator leaves it;
    `idle_priority` leaves the processors to an engine that serves, and `used_since` says whether
    that did anything; `known` are a job's facts, of an earlier run among them. Recordings are
    decoded by `decoders`, else in this process. Raises StartupError, BadField, Unavailable."""
    assert request.model is not None
    maker = CheckpointBuilder(loader.settings, idle_priority)
    reporter.stage("resolving")
    source = await in_daemon_thread(resolve, request.model, loader.settings.cache_dir)
    known = known or {}
    found = await in_daemon_thread(
        content_hashes, source, request.recipe.calibration, request.proof
    )
    check_unchanged(known.get("asked") or {}, found, "since it was asked for")
    async with _held(source.folder):
        case = _Case(request, source, found, maker, Prover(loader, maker, decoders), reporter)
        if isinstance(request.recipe, Recipe):
            check_recipe(request.recipe, source, loader.device)
            return await case.made_and_proven(request.recipe)
        measurer = Measurer(loader, maker, used_since)
        return await _chosen(request.recipe, case, measurer, known.get("choice"))


@dataclass(frozen=True)
class _Case:
    """What a job works on. found: content_hashes() of source and recordings."""

    request: QuantizationRequest
    source: Source
    found: dict[str, Any]
    maker: CheckpointBuilder
    prover: Prover
    reporter: JobReporter

    async def made_and_proven(self, recipe: Recipe) -> tuple[Checkpoint, Proof | None]:
        """Return the candidate, and its proof where there are recordings for one."""
        request, source, reporter = self.request, self.source, self.reporter
        reporter.stage("quantizing")
        found = dict(self.found)
        if recipe.calibration is None:  # by which a choice may have been scored
            found.pop("calibration", None)
        make = partial(self.maker.make, found=found)
        told = from_thread(reporter)
        entry = await run_interruptible(self.maker.stop, make, source, recipe, told)
        candidate = Checkpoint.of(entry).called(source)
        reporter.facts(checkpoint=_described(candidate, entry.manifest))
        if request.proof is None:
            return candidate, None
        before = Checkpoint(source, source.folder)
        async with _held(candidate.folder):
            proof = await self.prover.prove(
                before, candidate, request.proof, request.thresholds, found, reporter
            )
        proof.run["making"] = entry.manifest["figures"]
        return candidate, proof


async def _chosen(
    asked: AutoRecipe, case: _Case, measurer: Measurer, before: dict[str, Any] | None
) -> tuple[Checkpoint, Proof | None]:
    """Choose a recipe, make and prove it, and time what was made; `before` is what an earlier run
    of the job found of that."""
    choice = await _choice(asked, case, measurer, before)
    recipe = Recipe.model_validate(choice["recipe"])
    check_recipe(recipe, case.source, measurer.loader.device)
    candidate, proof = await case.made_and_proven(recipe)
    if "candidate" not in choice["seconds"]:
        async with _held(candidate.folder):
            choice = await timed(choice, candidate, case.source, measurer, case.reporter)
        case.reporter.facts(choice=choice)
    return candidate, proof


async def _choice(
    asked: AutoRecipe, case: _Case, measurer: Measurer, before: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the facts of a choice: those of before, where that was on this device, else found
    now."""
    device = await in_daemon_thread(lambda: fingerprint(measurer.facts))
    with suppress(LookupError, TypeError, ValidationError):  # none, or of another version
        if before and Tuned.model_validate(before["recipe"]["tuned"]).device == device:
            return before
    choice = (await choose(asked, case.source, measurer, case.reporter)).facts()
    case.reporter.facts(choice=choice)
    return choice


@asynccontextmanager
async def _held(folder: Path) -> AsyncGenerator[None]:
    """Nobody deletes an entry of the cache meanwhile."""
    with ExitStack() as held:
        await in_daemon_thread(held.enter_context, in_use(folder))
        yield


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
