"""The run of a quantization job: a checkpoint is made and proven."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from app.audio.decoding import Decoders
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.content_hashes import check_unchanged, content_hashes
from app.checkpoints.in_use import in_use
from app.jobs import JobReporter
from app.process import in_daemon_thread, run_interruptible
from app.quantization.builder import CheckpointBuilder
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
    asked: Mapping[str, Any] | None = None,
    decoders: Decoders | None = None,
) -> tuple[Checkpoint, Proof | None]:
    """Do what a request asks for, but for its promotion; return the candidate, and its proof where
    the request has recordings for one. The request is complete, as RequestValidator leaves it;
    `idle_priority` leaves the processors to an engine that serves; `asked` are the content hashes
    of when the request came. Recordings are decoded by `decoders`, else in this process. Raises
    StartupError, Unavailable."""
    assert request.model is not None
    maker = CheckpointBuilder(loader.settings, idle_priority)
    reporter.stage("resolving")
    source = await in_daemon_thread(resolve, request.model, loader.settings.cache_dir)
    check_recipe(request.recipe, source, loader.device)
    found = await in_daemon_thread(
        content_hashes, source, request.recipe.calibration, request.proof
    )
    check_unchanged(asked or {}, found, "since it was asked for")
    with in_use(source.folder):
        prover = Prover(loader, maker, decoders)
        return await _made_and_proven(request, source, found, maker, prover, reporter)


async def _made_and_proven(
    request: QuantizationRequest,
    source: Source,
    found: dict[str, Any],
    maker: CheckpointBuilder,
    prover: Prover,
    reporter: JobReporter,
) -> tuple[Checkpoint, Proof | None]:
    reporter.stage("quantizing")
    make = partial(maker.make, found=found)
    entry = await run_interruptible(maker.stop, make, source, request.recipe, from_thread(reporter))
    candidate = Checkpoint.of(entry).called(source)
    reporter.facts(checkpoint=_described(candidate, entry.manifest))
    if request.proof is None:
        return candidate, None
    before = Checkpoint(source, source.folder)
    with in_use(candidate.folder):
        proof = await prover.prove(
            before, candidate, request.proof, request.thresholds, found, reporter
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
