"""marlinscribe quantize: a checkpoint made, and proven, without a server."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.asr import zygote
from app.asr.plan import pick_device
from app.checkpoints.calibration import read
from app.checkpoints.order import Order, Thresholds
from app.checkpoints.proof import Proof
from app.checkpoints.recipe import Recordings, RecordingSet
from app.checkpoints.source import resolve
from app.commands.console import FAILURE, INTERRUPTED, SUCCESS, USAGE, StageProgress, settings_for
from app.errors import MarlinscribeError
from app.jobs import Job, Teller
from app.quantization.making import recipe_for
from app.quantization.service import make_and_prove
from app.serving.loading import Loader
from app.settings import Settings

_OF_THE_SETTINGS = ("model", "calibration", "quantization", "group_size")
_OF_THE_RECIPE = ("scheme", "emulate")


def quantize(arguments: argparse.Namespace) -> int:
    """Print the checkpoint's folder; 1 where it cannot be made, or is not proven."""
    console = Console(stderr=True)
    settings = settings_for(console, **_given(arguments, _OF_THE_SETTINGS))
    if settings is None:
        return USAGE
    progress = StageProgress(console)
    loader = Loader(settings, pick_device(settings.device))
    try:
        order = _order(settings, loader, arguments)
        if order is None:  # it came quantized, or is to be served as it is
            print(resolve(settings.model).folder)
            return SUCCESS
        if order.proof:
            zygote.start(loader.device, zygote.environment(loader.device, settings.log_level))
        candidate, proof = asyncio.run(make_and_prove(order, loader, _teller(progress)))
    except MarlinscribeError as error:
        progress.close()
        console.print(str(error), style="red", highlight=False, markup=False)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        progress.close()
    print(candidate.folder)
    if proof is None:
        return SUCCESS
    console.print(_table(proof))
    for reason in proof.reasons:
        console.print(f"rejected: {reason}", style="red", highlight=False, markup=False)
    if arguments.json:
        text = json.dumps(proof.model_dump(mode="json"), ensure_ascii=False, indent=1)
        arguments.json.write_text(text + "\n", "utf-8")
    return SUCCESS if proof.passed else FAILURE


def _order(settings: Settings, loader: Loader, arguments: argparse.Namespace) -> Order | None:
    """Raises StartupError."""
    source = resolve(settings.model)
    if source.quantized or settings.quantization == "none":
        return None
    given = _given(arguments, _OF_THE_RECIPE)
    recipe = recipe_for(settings, source, loader.device, **given)
    limits = Thresholds(**_given(arguments, ("min_recovery",)))
    proof = _proof_set(arguments.prove)
    if proof:
        read(proof)  # what cannot be judged by is told before hours of making
    return Order(model=settings.model, recipe=recipe, proof=proof, thresholds=limits)


def _proof_set(folder: Path | None) -> Recordings | None:
    return Recordings(sources=(RecordingSet(source=str(folder)),), samples=None) if folder else None


def _given(arguments: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _teller(progress: StageProgress) -> Teller:
    def on_event(job: Job, event: dict[str, Any]) -> None:
        if event["type"] == "stage":
            progress.show(job.stage)
        elif event["type"] == "progress":
            unit = "layers" if job.stage == "quantizing" else "recordings"
            progress.show(job.stage, "", event["done"], event["total"], unit)

    return Teller(Job("", {}, ""), on_event)


def _table(proof: Proof) -> Table:
    verdict = "proven" if proof.passed else "rejected"
    before, after = proof.weight_bytes["source"], proof.weight_bytes["candidate"]
    table = Table(
        title=f"{verdict}; {before / 1e6:.1f} to {after / 1e6:.1f} MB; 95 % intervals",
        highlight=False,
    )
    for column in ("language", "recordings", "rate", "source", "candidate", "recovery"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language, one in proof.languages.items():
        kept = one.recovery
        table.add_row(
            language,
            str(one.recordings),
            one.metric.upper(),
            f"{one.source[one.metric].value:.1%}",
            f"{one.candidate[one.metric].value:.1%}",
            f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%})",
        )
    return table
