"""marlinscribe plan: where a device's memory goes, and the settings that follow."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.checkpoints.recipe import Recipe
from app.checkpoints.schemes import refusal
from app.commands.console import FAILURE, SUCCESS, USAGE, settings_for
from app.errors import BadRecipe, BadSource, EngineFailed
from app.models.base import Device
from app.models.whisper_vllm.budget import (
    KEPT_ON_CPU,
    LIMITS,
    MIB,
    Budget,
    Memory,
    budget_of,
    footprint_of,
)
from app.models.whisper_vllm.plan import computes_in_float32, memory_of, pick_device
from app.models.whisper_vllm.shape import SHAPES, Architecture, ModelShape
from app.serving.shares import share_out
from app.sources.resolve import resolve

DEFAULT_MODEL = "openai/whisper-large-v2"
DEFAULT_SCHEME = "W4A16"
_UNQUANTIZED = ("bf16", "fp16")
SCHEMES = ("W4A16", "W8A16", "W8A8", *_UNQUANTIZED)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to plan for. weighed: how its bytes are known, for people; parameters: how many
    weights it has."""

    name: str
    scheme: str
    geometry: ModelShape
    weighed: str
    parameters: int

    def in_float32(self) -> "Checkpoint":
        """The checkpoint as it is loaded where an engine computes in 32 bits."""
        geometry = self.geometry.in_float32(self.parameters)
        return replace(self, geometry=geometry, weighed="in float32: no AVX-512 here")


def plan(arguments: argparse.Namespace) -> int:
    """Print the budget, or a file of settings; 1 where not one window fits."""
    errors = Console(stderr=True)
    here = arguments.vram is None and arguments.ram is None
    own: dict[str, int | None] = {}  # what the operator has set for this machine
    settings = settings_for(errors)
    if settings is None:
        return USAGE
    if here:
        own = {"windows": settings.max_windows, "kv_bytes": settings.kv_cache_bytes}
        device = pick_device(settings.device)
        memory = memory_of(device)
    elif arguments.vram is not None:
        device, memory = "cuda", Memory.of_a_card(arguments.vram)
    else:
        device, memory = "cpu", Memory.of_a_machine(arguments.ram)
    try:
        models = (arguments.model, *arguments.beside)
        checkpoints = [
            checkpoint_of(model, arguments.scheme, device, settings.cache_dir) for model in models
        ]
        if here and computes_in_float32(device):
            checkpoints = [one.in_float32() for one in checkpoints]
        budgets = [
            budget_of(one.geometry, device, share, **own)
            for one, share in zip(checkpoints, _shares(checkpoints, device, memory), strict=True)
        ]
    except (BadSource, BadRecipe, EngineFailed) as error:
        errors.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return FAILURE if isinstance(error, EngineFailed) else USAGE
    if arguments.env:
        print(_env(arguments, checkpoints[0], budgets[0]), end="")
        return SUCCESS
    console = Console()
    for checkpoint, budget in zip(checkpoints, budgets, strict=True):
        place = f"its share of {_named(arguments)}" if arguments.beside else _named(arguments)
        title = f"{checkpoint.name}, {checkpoint.scheme}, on {place}"
        console.print(_table(title, lines(budget, checkpoint.weighed, measured=here)))
    console.print(_settings_text(budgets[0]), highlight=False, markup=False)
    return SUCCESS


def _shares(checkpoints: Sequence[Checkpoint], device: Device, memory: Memory) -> list[Memory]:
    """Return the memory that each of several models has, or all of it for one. Raises
    EngineFailed."""
    if len(checkpoints) == 1:
        return [memory]
    needs = {
        f"{number} {one.name}": footprint_of(one.geometry, device)
        for number, one in enumerate(checkpoints, start=1)
    }
    kept = 0 if device == "cuda" else KEPT_ON_CPU
    return [Memory(share, share) for share in share_out(memory.free, kept, needs).values()]


def checkpoint_of(model: str, scheme: str | None, device: Device, cache: Path) -> Checkpoint:
    """`model` lies here, or is a hub id whose shape is known; nothing is downloaded.

    Raises BadSource, or BadRecipe where the device does not run the scheme.
    """
    if not Path(model).expanduser().exists():
        if model not in SHAPES:
            raise BadSource(
                f"{model} is no folder here, and no model whose shape is known.",
                f"Known are {', '.join(SHAPES)}; name the one it was made from, or a folder.",
            )
        return _by_shape(model, SHAPES[model], scheme or DEFAULT_SCHEME, device)
    source = resolve(model, cache)
    if source.quantized and scheme:
        raise BadRecipe(f"{model} is quantized already.", "Leave --scheme out.")
    shape = Architecture.of(source.config)
    if source.quantized or scheme in _UNQUANTIZED:
        geometry, as_it_is = ModelShape.of(source.folder), scheme or "as it came"
        return Checkpoint(source.name, as_it_is, geometry, "read from its files", shape.parameters)
    return _by_shape(source.name, shape, scheme or DEFAULT_SCHEME, device)


def _by_shape(name: str, shape: Architecture, scheme: str, device: Device) -> Checkpoint:
    if scheme not in _UNQUANTIZED:
        config = {
            "d_model": shape.d_model,
            "encoder_layers": shape.encoder_layers,
            "encoder_ffn_dim": shape.encoder_ffn,
            "decoder_layers": shape.decoder_layers,
            "decoder_ffn_dim": shape.decoder_ffn,
        }
        if reason := refusal(
            Recipe.model_validate({"method": "rtn", "scheme": scheme}), config, device
        ):
            raise BadRecipe(f"{scheme}: {reason}.", "Choose another --scheme.")
    geometry = shape.geometry(scheme)
    return Checkpoint(name, scheme, geometry, "computed from the shape", shape.parameters)


def lines(budget: Budget, weighed: str, *, measured: bool) -> list[tuple[str, int, str]]:
    """Return a budget's lines: purpose, bytes, and how they are known; without what the device does
    not have."""
    card = budget.device == "cuda"
    total = "measured" if card else "measured: what is free now"
    others = "driver, display" if card else "system, this service"
    rows = [
        ("total", budget.total, total if measured else "as sold: 1 GB is 1 GiB"),
        (others, budget.taken, "measured" if measured else "estimated"),
        ("other work, audio, activations", budget.kept, "half of what is free"),
        ("CUDA context, cuBLAS", budget.context, "estimated"),
        ("weights", budget.weights, weighed),
        (f"encoder, windows at once: {budget.at_once}", budget.encoding, "estimated"),
        ("CUDA graphs", budget.graphs, "estimated"),
        ("keys and values", budget.kv, _pool(budget)),
    ]
    return [row for row in rows if row[1]] + [("left", budget.left, "")]


def _pool(budget: Budget) -> str:
    more = (budget.kv - budget.windows * budget.window) / MIB
    return f"{budget.windows} windows of {budget.window / MIB:.0f} MiB, and {more:.0f}"


def _named(arguments: argparse.Namespace) -> str:
    if arguments.vram is not None:
        return f"a card of {arguments.vram:g} GB"
    return "this machine" if arguments.ram is None else f"a machine of {arguments.ram:g} GB"


def _table(title: str, rows: list[tuple[str, int, str]]) -> Table:
    table = Table(title=title, highlight=False)
    table.add_column("")
    table.add_column("MiB", justify="right")
    table.add_column("")
    for name, size, known in rows:
        table.add_row(name, f"{size / MIB:.0f}", known, end_section=name == "total")
    return table


def _settings_text(budget: Budget) -> str:
    most = LIMITS[budget.device].windows
    capped = f"; at most {most} are taken" if budget.fits > most else ""
    return "\n".join(
        (
            f"Windows that fit: {budget.fits}{capped}. What follows:",
            f"MARLINSCRIBE_DEVICE={budget.device}",
            f"MARLINSCRIBE_MAX_WINDOWS={budget.windows}",
            f"MARLINSCRIBE_KV_CACHE_BYTES={budget.kv}",
            "The service computes the last one by itself, from what is free when it starts:\n"
            "leave it unset unless that goes wrong.",
        )
    )


def _env(arguments: argparse.Namespace, checkpoint: Checkpoint, budget: Budget) -> str:
    """Return a file of MARLINSCRIBE_* variables, without the pool's size: the service computes it
    from what is free, and takes fewer windows where there is less."""
    command = ["marlinscribe", "plan"]
    for name in ("vram", "ram", "model", "scheme"):
        value = getattr(arguments, name)
        if value not in (None, DEFAULT_MODEL):
            command += [f"--{name}", f"{value:g}" if isinstance(value, float) else value]
    why = {
        "cuda": "No quiet fall to the processor where the card does not answer.",
        "cpu": "The processor, also where there is a card.",
    }[budget.device]
    return f"""\
# {shlex.join([*command, "--env"])}
# For {_named(arguments)} and {checkpoint.name} ({checkpoint.scheme}), or a smaller model.

# {why}
MARLINSCRIBE_DEVICE={budget.device}

# {budget.windows} windows' keys and values take {budget.kv / MIB:.0f} MiB, the weights \
{budget.weights / MIB:.0f}. With less free than that needs,
# the service takes fewer windows by itself. docs/sizing.md has the whole budget.
MARLINSCRIBE_MAX_WINDOWS={budget.windows}
"""
