"""Which score tells best what a choice of bits by layer loses.

    make bench-sensitivity
    python -m bench.sensitivity [--model NAME] [--windows N] [--assignments N]

Every fused group is scored under every scheme, and measured alone (`alone`, the referee). Random
assignments of schemes to all groups are measured too: the divergence of the next token's
distribution from the model's as it came, and what the words' negative log likelihood grows by, both
in nats a token, with weights and activations rounded to nearest. Printed is Spearman's rank
correlation of each score's sum with these, with a 95 % interval (bootstrapped over assignments).

Much of that needs no score: what has more weights in four bits loses more. `four bits` is that
share's own rank correlation, and the last column the scores' partial one, the share held constant:
whether a score tells which layers to take, and not only how many.

A run takes long, on whisper-base half an hour of two cores: it goes on where it was ended.
"""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from app.checkpoints.result_cache import ResultCache
from app.quantization.quantizer_process import Progress, Quantizer
from app.quantization.settings_recipe import default_calibration
from app.recordings.read import digest
from app.settings import Settings
from app.sources.resolve import resolve
from app.tuning.groups import SCHEMES, Group, groups_of
from app.tuning.losses import total
from bench.options import model_settings, parser, with_model

LOSSES = {"kl": "divergence", "nll": "likelihood lost"}
_RESAMPLES = 500


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.sensitivity", __doc__, windows=24, assignments=100))
    asked = wanted.parse_args(argv)
    given = {name: one for name, one in model_settings(asked).items() if one is not None}
    settings = Settings(**given)
    source = resolve(settings.model, settings.cache_dir)
    recordings = default_calibration(settings, source)
    counts = {"windows": asked.windows, "assignments": asked.assignments}
    facts = {"source": source.identity(), "recordings": digest(recordings), **counts}
    folder = settings.cache_dir / "sensitivities"
    done = folder / f"{ResultCache.key(**facts)}.bench.json"
    job = {"folder": str(source.folder), "recordings": recordings.model_dump(mode="json"),
           "schemes": SCHEMES, "referee": True, "done": str(done), **counts}  # fmt: skip
    quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)
    show(quantizer.score(job, _progress), groups_of(source.config))


def _progress(now: Progress) -> None:
    if now.done % 20 == 0:
        print(f"{now.done} of {now.total}", flush=True)


def show(found: Mapping[str, Any], groups: Sequence[Group]) -> None:
    """Print how well each score's sum ranks the assignments."""
    measured = found["assignments"]
    losses = [one["kl"] for one in measured]
    title = (
        f"{len(measured)} assignments on {found['windows']} windows, {found['tokens']} tokens; "
        f"divergence {min(losses):.4f} to {max(losses):.4f}, median {statistics.median(losses):.4f}"
    )
    columns = [f"rank correlation, {name}" for name in LOSSES.values()]
    table = Table("score", *columns, "divergence, same share of four bits", title=title)
    for row in correlations(found, groups):
        print(*row, sep=" | ")
        table.add_row(*row)
    Console(width=120).print(table)
    low, middle, high = additivity(found)
    print(f"alone, added up / measured together: {middle:.2f} ({low:.2f} to {high:.2f})")


def additivity(found: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return what an assignment's groups lose alone, added up, by what they lose together: the
    least, median and highest of the assignments."""
    ratios = [
        total(found["scores"], "kl", one["schemes"]) / one["kl"] for one in found["assignments"]
    ]
    return min(ratios), statistics.median(ratios), max(ratios)


def correlations(found: Mapping[str, Any], groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return a row for each score, the best first."""
    measured = found["assignments"]
    names = sorted({name for one in found["scores"].values() for name in one} - {"nll"})
    summed = {
        "alone" if name == "kl" else name: [
            total(found["scores"], name, one["schemes"]) for one in measured
        ]
        for name in names
    }
    share = [four_bits(groups, one["schemes"]) for one in measured]
    losses = {loss: [one[loss] for one in measured] for loss in LOSSES}
    rows = [
        (_rank(sums, losses["kl"]), name, *(_interval(sums, one) for one in losses.values()),
         "" if sums is share else f"{partial(sums, losses['kl'], share):.3f}")
        for name, sums in (summed | {"four bits": share}).items()
    ]  # fmt: skip
    return [tuple(map(str, row[1:])) for row in sorted(rows, reverse=True)]


def four_bits(groups: Sequence[Group], schemes: Mapping[str, str]) -> float:
    """Return how many weights have four bits."""
    return sum(
        group.inputs * group.outputs for group in groups if schemes[group.name].startswith("W4")
    )


def partial(one: Sequence[float], other: Sequence[float], held: Sequence[float]) -> float:
    """Return the rank correlation of two with a third held constant."""
    ab, ac, bc = _rank(one, other), _rank(one, held), _rank(other, held)
    return (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2))


def _interval(sums: Sequence[float], values: Sequence[float]) -> str:
    chance = random.Random(0)
    drawn = [chance.choices(range(len(sums)), k=len(sums)) for _ in range(_RESAMPLES)]
    several = sorted(_rank([sums[n] for n in one], [values[n] for n in one]) for one in drawn)
    tail = _RESAMPLES // 40
    return f"{_rank(sums, values):.3f} ({several[tail]:.3f} to {several[-tail]:.3f})"


def _rank(one: Sequence[float], other: Sequence[float]) -> float:
    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
