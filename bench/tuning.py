"""What an engine takes, predicted from its layers, beside what it does take.

    make bench-tuning
    python -m bench.tuning [--model NAME] [--only RECIPE]

Every shape of the model's multiplications is timed under every scheme, and the engine once, with
the unquantized weights. From these the times of other checkpoints are predicted; each is made (by
rounding), started and timed. E: milliseconds of an encoder's pass; S: of a decoder's step, by how
many windows share it; RTFx: seconds of sound a second, one window alone and sixteen at once.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.device import described
from app.checkpoints.recipe import Recipe
from app.models.whisper_vllm.plan import pick_device
from app.quantization.builder import CheckpointBuilder
from app.quantization.measuring import Measurer
from app.quantization.settings_recipe import dtype_on
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source
from app.tuning.cost import Cost
from app.tuning.engine_times import AT_ONCE, Measured
from app.tuning.groups import SCHEMES, groups_of
from app.tuning.linear_times import ROWS, LinearTimes
from app.tuning.recipe import schemes_of
from bench.options import model_settings, parser, with_model

_ENCODER_8: dict[str, Any] = {
    "components": dict.fromkeys(("encoder.attention", "encoder.mlp"), "W8A8")
}
RECIPES: Mapping[str, dict[str, Any]] = {
    "W8A8": {"scheme": "W8A8"},
    "W4A16 g32": {"group_size": 32},
    "W4A16 g128": {"group_size": 128},
    "encoder W8A8, decoder W4A16 g32": {"group_size": 32, **_ENCODER_8},
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.tuning", __doc__, recipes=len(RECIPES)))
    wanted.add_argument("--only", choices=RECIPES, help="one recipe")
    asked = wanted.parse_args(argv)
    given = {name: one for name, one in model_settings(asked).items() if one is not None}
    settings = Settings(**given)
    loader = Loader(settings, pick_device(settings.device))
    source = resolve(settings.model, settings.cache_dir)
    measurer, groups = Measurer(loader, CheckpointBuilder(settings)), groups_of(source.config)
    linear, _ = asyncio.run(measurer.layers(groups))
    print(described(measurer.facts), linear.kernels)
    layers(linear)
    print(f"{len(linear.unsteady)} of {len(linear.all)} layers vary by more than a fifth")
    whole, _ = asyncio.run(measurer.whole(source))
    cost = Cost(groups, linear, whole.times, whole.tokens)
    table = _table(f"{source.name}, {whole.sound_seconds:.1f} s of sound, {whole.tokens} tokens")
    table.add_row("unquantized", *_measured(whole))
    names = [asked.only] if asked.only else list(RECIPES)[: asked.recipes]
    for name, checkpoint, recipe in _checkpoints(settings, source, loader, names):
        found = asyncio.run(measurer.engine(checkpoint, source))
        for row in _rows(cost, recipe, found, source.config):
            print(name, *row, sep=" | ", flush=True)
            table.add_row(name, *row)
        table.add_section()
    Console(width=150).print(table)


def layers(linear: LinearTimes) -> None:
    """Print what one multiplication takes, in microseconds, by rows, shape and scheme."""
    table = Table("rows", "inputs", "outputs", *SCHEMES, title="microseconds of a layer")
    seconds = {one.key: one.seconds for one in linear.all}
    for rows in ROWS:
        for shape in sorted({one.shape for one in linear.all}):
            found = [f"{1e6 * seconds[(*shape, scheme, rows)]:.0f}" for scheme in SCHEMES]
            inputs, outputs = shape
            table.add_row(str(rows), str(inputs), str(outputs or "attention"), *found)
        table.add_section()
    Console(width=150).print(table)


def _checkpoints(
    settings: Settings, source: Source, loader: Loader, names: Sequence[str]
) -> Iterator[tuple[str, Checkpoint, Recipe]]:
    """Make each, in a cache of its own that goes with it."""
    for name in names:
        recipe = Recipe(method="rtn", dtype=dtype_on(loader.device), **RECIPES[name])
        with tempfile.TemporaryDirectory() as cache:
            own = settings.model_copy(update={"cache_dir": Path(cache)})
            entry = CheckpointBuilder(own).make(source, recipe, lambda _: None)
            yield name, Checkpoint.of(entry), recipe


def _rows(
    cost: Cost, recipe: Recipe, found: Measured, config: Mapping[str, Any]
) -> Iterator[list[str]]:
    schemes = schemes_of(recipe, config)
    times = cost.engine_times(schemes)
    # As many tokens as this checkpoint wrote: it may write others.
    runs = {n: n * times.encoder + found.tokens * times.step[n] for n in AT_ONCE}
    predicted = Measured(times, runs, found.tokens, found.sound_seconds, 0)
    yield ["predicted", *_figures(predicted)]
    yield _measured(found)
    pairs = zip(_values(predicted), _values(found), strict=True)
    yield ["predicted / measured", *(f"{mine / its:.2f}" for mine, its in pairs)]


def _measured(found: Measured) -> list[str]:
    told = f"measured (spread {found.spread:.0%})" if found.unsteady else "measured"
    return [told, *_figures(found)]


def _figures(one: Measured) -> list[str]:
    return [f"{value:.1f}" for value in _values(one)]


def _values(one: Measured) -> list[float]:
    steps = [1000 * one.times.step[n] for n in AT_ONCE]
    rates = [n * one.sound_seconds / one.runs[n] for n in (1, 16)]
    return [1000 * one.times.encoder, *steps, *rates]


def _table(title: str) -> Table:
    steps = [f"S({n})" for n in AT_ONCE]
    return Table("", "", "E ms", *steps, "RTFx, 1", "RTFx, 16", title=title)


if __name__ == "__main__":
    main()
