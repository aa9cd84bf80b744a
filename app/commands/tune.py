"""marlinscribe tune: choose bits by layer for a scenario, by what is measured on this device."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from app.commands import quantize, tune_tables
from app.commands.console import (
    FAILURE,
    INTERRUPTED,
    SUCCESS,
    USAGE,
    StageProgress,
    print_error,
    settings_for,
)
from app.errors import BadRecipe, BadSource, MarlinscribeError
from app.files import check_writable, write_json
from app.jobs import Job, JobReporter
from app.models.whisper_vllm.plan import check_device, pick_device
from app.quantization.builder import CheckpointBuilder
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.quantization.settings_recipe import (
    default_calibration,
    settings_fields,
    settings_recipe,
)
from app.quantization.validation import RequestValidator
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source
from app.tuning.engine_times import Measured
from app.tuning.measuring import Findings, Measurer
from app.tuning.recipe import order_of, schemes_of
from app.tuning.tuning import DEFAULT, REST, Tuning, Wish, card_bytes, options_of, tuned

_MB = 1e6


def tune(arguments: argparse.Namespace) -> int:
    """Print what was chosen, and the order for `marlinscribe quantize`; 1 where nothing fits."""
    console = Console(stderr=True)
    given = {"model": arguments.model} if arguments.model else {}
    settings = settings_for(console, **given)
    if settings is None:
        return USAGE
    if arguments.prove and not arguments.make:
        print_error(console, "--prove judges nothing without --make.")
        return USAGE
    progress = StageProgress(console)
    try:
        check_writable(arguments.out)
        return _tuned(arguments, settings, console, progress)
    except (MarlinscribeError, ValueError) as error:
        progress.close()
        print_error(console, str(error))
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        progress.close()


def _tuned(
    arguments: argparse.Namespace, settings: Settings, console: Console, progress: StageProgress
) -> int:
    """Measure, choose, show, write and perhaps make; return the exit status. Raises
    MarlinscribeError."""
    loader = Loader(settings, pick_device(settings.device))
    check_device(loader.device)
    source = _source(settings.model, settings.cache_dir)
    wish = wished(arguments, source)
    measurer = Measurer(loader, CheckpointBuilder(settings))
    findings = asyncio.run(measurer.findings(source, reporter(progress)))
    progress.close()
    found = chosen(wish, findings, source, loader)
    defaults = {name: one for name, one in found.uniform[DEFAULT].schemes.items() if name != REST}
    measure = measurer.losses(source, [found.schemes, defaults], reporter(progress))
    lost = asyncio.run(measure)
    tune_tables.show(console, found, findings)
    console.print(tune_tables.measured(lost), highlight=False)
    order = order_of(found, findings, arguments.model)
    _write(order, arguments.out, is_shown=not arguments.make)
    if not arguments.make:
        return SUCCESS
    status, timed = _made(console, progress, order, arguments.prove, measurer, source)
    tune_tables.show_timed(console, found, findings, timed)
    return status


def _source(model: str, cache: Path) -> Source:
    source = resolve(model, cache)
    if source.quantized:
        raise BadSource(f"{source.name} is quantized already.", "Tune what it was made of.")
    return source


def reporter(progress: StageProgress) -> JobReporter:
    """Return what shows a measurement's stages."""

    def on_event(job: Job, event: dict[str, Any]) -> None:
        if event["type"] == "stage":
            progress.show(job.stage)
        elif event["type"] == "progress":
            progress.show(job.stage, "", event["done"], event["total"], "measurements")

    return JobReporter(Job("", {}, ""), on_event)


def chosen(wish: Wish, findings: Findings, source: Source, loader: Loader) -> Tuning:
    """Choose by what was measured. Raises NothingFits."""
    cost = findings.cost(wish.clip_seconds)
    options = options_of(findings.groups, cost, findings.losses, source.config, wish.at_once)
    usual = loader.settings.model_copy(update={"quantization": "auto", "group_size": "auto"})
    device = loader.device
    four = settings_fields(usual, source, device, in_four_bits=True)
    default = settings_recipe(usual, source, device, **four)
    return tuned(wish, options, schemes_of(default, source.config))


def wished(arguments: argparse.Namespace, source: Source) -> Wish:
    """Return the wish of a command line; of two limits on bytes, the tighter. Raises BadRecipe."""
    sizes = [arguments.most_mb * _MB] if arguments.most_mb else []
    if arguments.vram:
        room = card_bytes(source.config, arguments.vram)
        if room <= 0:
            raise BadRecipe(
                f"A card of {arguments.vram:g} GB has no room for one window of {source.name}, "
                "whatever its weights take.",
                "Take a smaller model, or a larger card.",
            )
        sizes.append(room)
    seconds = arguments.most_ms / 1000 if arguments.most_ms else None
    size = min(sizes, default=None)
    return Wish(arguments.scenario, arguments.clip_seconds, seconds, size, arguments.most_loss)


def _write(order: dict[str, Any], out: Path | None, *, is_shown: bool) -> None:
    """Write an order to a file, or else to standard output, where nothing else is printed then."""
    if out is not None:
        write_json(out, order)
    elif is_shown:
        print(json.dumps(order, indent=1))


def _made(
    console: Console,
    progress: StageProgress,
    order: dict[str, Any],
    prove: str | None,
    measurer: Measurer,
    source: Source,
) -> tuple[int, Measured]:
    """Make the chosen checkpoint, prove it where there are recordings for it, print its folder and
    time it; return the exit status, and the times. Raises StartupError, RequestError."""
    settings, loader = measurer.settings, measurer.loader
    proof = {"proof": quantize.proof_set(prove, settings)} if prove else {}
    asked = QuantizationRequest.model_validate({"model": settings.model} | order | proof)
    intake = RequestValidator(settings, loader.device, any_path=True)
    whole = intake.checked(asked, source, needs_proof=False)
    candidate, found = asyncio.run(run_job(whole, loader, quantize.reporter(progress)))
    print(candidate.folder)
    status = SUCCESS if found is None else quantize.show_proof(console, found, None)
    recordings = default_calibration(settings, source)
    return status, asyncio.run(measurer.engine(candidate, recordings))
