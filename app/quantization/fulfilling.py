"""What an order asks for, done: a checkpoint made and proven."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from app.checkpoints.inputs import check_unchanged, marks
from app.checkpoints.order import Order
from app.checkpoints.proof import Proof
from app.checkpoints.served import Checkpoint
from app.checkpoints.source import resolve
from app.jobs import Teller
from app.process import in_daemon_thread, stoppably
from app.quantization.making import Maker, check_recipe
from app.quantization.proving import Prover, from_thread
from app.serving.loading import Loader


async def make_and_prove(
    order: Order,
    loader: Loader,
    tell: Teller,
    gives_way: bool = False,
    asked: Mapping[str, Any] | None = None,
) -> tuple[Checkpoint, Proof | None]:
    """What an order asks for, promotion aside; there is a proof where it has recordings for one.
    The order is complete, as Intake leaves it; `gives_way`: to an engine that serves; `asked` are
    inputs.marks of when it was asked for. Raises StartupError, EngineDied."""
    assert order.model is not None
    maker = Maker(loader.settings, gives_way)
    tell.stage("resolving")
    source = await in_daemon_thread(resolve, order.model)
    check_recipe(order.recipe, source, loader.device)
    found = await in_daemon_thread(marks, source, order.recipe.calibration, order.proof)
    check_unchanged(asked or {}, found, "since it was asked for")
    tell.stage("quantizing")
    make = partial(maker.make, found=found)
    entry = await stoppably(maker.stop, make, source, order.recipe, from_thread(tell))
    candidate = Checkpoint.of(entry)
    tell.facts(checkpoint=_described(candidate, entry.manifest))
    if order.proof is None:
        return candidate, None
    before = Checkpoint(source, source.folder)
    proof = await Prover(loader, maker).prove(
        before, candidate, order.proof, order.thresholds, found, tell
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
