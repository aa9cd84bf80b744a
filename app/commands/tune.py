"""marlinscribe tune: choose bits by layer for a scenario, by what is measured on this device."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from app.checkpoints.recipe import Recipe
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
from app.errors import BadSource, MarlinscribeError
from app.files import check_writable, write_json
from app.models.whisper_vllm.plan import check_device, pick_device
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.builder import CheckpointBuilder
from app.quantization.choosing import choose
from app.quantization.measuring import Measurer
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.quantization.validation import RequestValidator
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source
from app.tuning.engine_times import Measured

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
    asked = wished(arguments, source)
    measurer = Measurer(loader, CheckpointBuilder(settings))
    choice = asyncio.run(choose(asked, source, measurer, quantize.reporter(progress)))
    progress.close()
    tune_tables.show(console, choice)
    order = order_of(choice.recipe, arguments.model)
    _write(order, arguments.out, is_shown=not arguments.make)
    if not arguments.make:
        return SUCCESS
    status, timed = _made(console, progress, order, arguments.prove, measurer, source)
    tune_tables.show_timed(console, choice, timed)
    return status


def order_of(recipe: Recipe, model: str | None) -> dict[str, Any]:
    """Return a recipe as an order in JSON. Its calibration is the settings', also when it is
    made."""
    order: dict[str, Any] = {"model": model} if model else {}
    plain = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"calibration"})
    return order | {"recipe": plain}


def _source(model: str, cache: Path) -> Source:
    source = resolve(model, cache)
    if source.quantized:
        raise BadSource(f"{source.name} is quantized already.", "Tune what it was made of.")
    return source


def wished(arguments: argparse.Namespace, source: Source) -> AutoRecipe:
    """Return what a command line asks for. Raises BadField where no choice can be that, whatever is
    measured."""
    seconds = arguments.most_ms / 1000 if arguments.most_ms else None
    size = arguments.most_mb * _MB if arguments.most_mb else None
    asked = AutoRecipe(
        scheme="auto",
        scenario=arguments.scenario,
        vram_gb=arguments.vram,
        most_bytes=size,
        most_seconds=seconds,
        most_loss=arguments.most_loss,
        clip_seconds=arguments.clip_seconds,
    )
    asked.wish(source.config)
    return asked


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
    return status, asyncio.run(measurer.engine(candidate, source))
