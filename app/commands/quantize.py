"""marlinscribe quantize: make a checkpoint, and prove it, without a server."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from app.checkpoints.fused_groups import without_effect
from app.checkpoints.recipe import Recipe
from app.client import explained
from app.commands.console import FAILURE, INTERRUPTED, SUCCESS, USAGE, StageProgress, settings_for
from app.commands.hub_copies import copied_for_proof
from app.errors import BadField, MarlinscribeError
from app.files import check_writable
from app.jobs import Job, JobReporter
from app.models.base import Device
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import check_device, pick_device
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.proof import Proof
from app.quantization.request import QuantizationRequest, Thresholds
from app.quantization.run import run_job
from app.quantization.settings_recipe import settings_fields
from app.quantization.validation import RequestValidator
from app.recordings.known_sets import is_hub_set
from app.recordings.spec import Recordings, RecordingSet
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source

_OF_THE_SETTINGS = ("model", "calibration", "quantization", "group_size")
_OF_THE_RECIPE = ("scheme", "emulate", "components", "layers")
_UNITS = {
    "quantizing": "layers",
    "timing the layers": "measurements",
    "scoring the layers": "measurements",
    "measuring the choice": "measurements",
}
_OF_AN_ORDER = (*_OF_THE_SETTINGS, *_OF_THE_RECIPE, "prove", "min_recovery")


def quantize(arguments: argparse.Namespace) -> int:
    """Print the checkpoint's folder; 1 where it cannot be made, or is not proven."""
    console = Console(stderr=True)
    settings = settings_for(console, **_given(arguments, _OF_THE_SETTINGS))
    if settings is None:
        return USAGE
    try:
        given = _given_order(arguments)
        check_writable(arguments.json)  # before hours of work whose result it is to hold
    except (OSError, ValueError) as error:
        _complain(console, explained(error))
        return USAGE
    progress = StageProgress(console)
    loader = Loader(settings, pick_device(settings.device))
    try:
        model = given.model if given and given.model else settings.model
        source = resolve(model, settings.cache_dir)
        if given is None and (source.quantized or settings.quantization == "none"):
            print(source.folder)  # it came quantized, or is to be served as it is
            return SUCCESS
        order = _order(settings, loader, source, given, arguments)
        if order.proof or isinstance(order.recipe, AutoRecipe):
            check_device(loader.device)
            forkserver.start(
                loader.device, forkserver.environment(loader.device, settings.log_level)
            )
        candidate, proof = asyncio.run(run_job(order, loader, reporter(progress)))
    except MarlinscribeError as error:
        progress.close()
        field = f"{error.param}: " if isinstance(error, BadField) and error.param else ""
        _complain(console, f"{field}{error}")
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        progress.close()
    print(candidate.folder)
    return SUCCESS if proof is None else show_proof(console, proof, arguments.json)


def show_proof(console: Console, proof: Proof, file: Path | None) -> int:
    """Show a proof, write it to `file` where there is one; return the exit status."""
    console.print(_table(proof))
    for reason in proof.reasons:
        _complain(console, f"rejected: {reason}")
    for note in proof.notes:
        console.print(f"uncertain: {note}", style="yellow", highlight=False, markup=False)
    if file:
        text = json.dumps(proof.model_dump(mode="json"), ensure_ascii=False, indent=1)
        file.write_text(text + "\n", "utf-8")
    return SUCCESS if proof.passed else FAILURE


def _complain(console: Console, text: str) -> None:
    console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)


def _given_order(arguments: argparse.Namespace) -> QuantizationRequest | None:
    """The order in a file, if one is named. Raises OSError, and ValueError where it is none or
    not the only one, or where limits have nothing to be judged by."""
    if arguments.order is None:
        if arguments.min_recovery is not None and arguments.prove is None:
            raise ValueError("--min-recovery judges nothing without --prove.")
        return None
    if beside := _given(arguments, _OF_AN_ORDER):
        names = ", ".join(sorted(beside))
        raise ValueError(f"An order says it all: leave {names} to {arguments.order}.")
    try:
        order = QuantizationRequest.model_validate_json(arguments.order.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{arguments.order}: {where}: {fault['msg']}") from error
    if order.proof is None and "thresholds" in order.model_fields_set:
        raise ValueError(f"{arguments.order}: thresholds judge nothing without a proof.")
    return order


def _order(
    settings: Settings,
    loader: Loader,
    source: Source,
    given: QuantizationRequest | None,
    arguments: argparse.Namespace,
) -> QuantizationRequest:
    """Check the request as the service does, but for the paths. Raises BadField."""
    intake = RequestValidator(settings, loader.device, any_path=True)
    if given:
        return intake.checked(given, source, needs_proof=False)
    recipe = _recipe(settings, source, loader.device, arguments)
    limits = Thresholds(**_given(arguments, ("min_recovery",)))
    proof = proof_set(arguments.prove, settings)
    order = QuantizationRequest(recipe=recipe, proof=proof, thresholds=limits)
    return intake.checked(order, source, needs_proof=False)


def _recipe(
    settings: Settings, source: Source, device: Device, arguments: argparse.Namespace
) -> Recipe:
    """Raises BadField."""
    given = _given(arguments, _OF_THE_RECIPE)
    # Whoever names a part of a recipe means it as a part of the one that is learned.
    more = settings_fields(settings, source, device, in_four_bits=bool(given)) | given
    more |= {name: dict(more.get(name, ())) for name in ("components", "layers")}
    try:
        recipe = Recipe(**more)
        if "components" in given:
            return recipe
        # Of those that nobody asked for, layers may leave nothing.
        for name in without_effect(recipe, source.config):
            del more["components"][name]
        return Recipe(**more)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise BadField(f"{what}.", param="recipe") from error


def proof_set(source: str | None, settings: Settings) -> Recordings | None:
    """Raises StartupError where a hub's set cannot be copied."""
    if source is None:
        return None
    if is_hub_set(source) and not Path(source).expanduser().exists():
        source = str(copied_for_proof(source, settings))
    return Recordings(sources=(RecordingSet(source=source),), samples=None)


def _given(arguments: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def reporter(progress: StageProgress) -> JobReporter:
    """Return what shows a job's stages, and how far each is."""

    def on_event(job: Job, event: dict[str, Any]) -> None:
        if event["type"] == "stage":
            progress.show(job.stage)
        elif event["type"] == "progress":
            layer = event.get("layer", "")
            unit = _UNITS.get(job.stage, "recordings")
            progress.show(job.stage, layer, event["done"], event["total"], unit)

    return JobReporter(Job("", {}, ""), on_event)


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
