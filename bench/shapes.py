"""Which scheme is the fastest at every shape of a Whisper's layers?

    python -m bench.shapes [--attention]

vLLM's own linear layers, of the widths of tiny to large, are timed under each scheme with as many
rows as a step has, through the kernels that vLLM chooses here; where zentorch is installed, then
without it, base and large. `fastest` counts a scheme's shapes and rows. Seven minutes, on a machine
that does nothing else; with --attention one, for what the encoder's positions attend to behind a
layer of each scheme, and no layer.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.tuning.groups import SCHEMES, WINDOW_ROWS
from app.tuning.linear_times import ROWS, Timed, timed
from bench.left_out import left_out
from bench.options import parser

WIDTHS = (384, 512, 768, 1024, 1280)  # tiny, base, small, medium, large
_FEW_WIDTHS = (512, 1280)
_PROJECT = Path(__file__).resolve().parent.parent


def shapes(width: int) -> list[tuple[int, int]]:
    """Return inputs and outputs of a layer's multiplications: out, qkv, fc1, fc2."""
    return [(width, width), (width, 3 * width), (width, 4 * width), (4 * width, width)]


def _of(widths: Iterable[int]) -> list[tuple[int, int]]:
    return [shape for width in widths for shape in shapes(width)]


def measured(
    asked: Sequence[tuple[int, int]], rounds: int, environment: Mapping[str, str] = os.environ
) -> list[Timed]:
    """Time layers of these shapes in a process of their own."""
    job = {"shapes": asked, "schemes": SCHEMES, "rows": ROWS, "rounds": rounds}
    answer = subprocess.run(
        [sys.executable, "-m", "app.models.whisper_vllm.linear_timing"],
        input=json.dumps(job),
        env=forkserver.environment(pick_device("auto"), "error") | dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_PROJECT,
    )
    return [timed(json.loads(line)) for line in answer.stdout.splitlines()]


def lines(several: Iterable[Timed]) -> list[str]:
    """Return a table of microseconds of fc1, and how often each scheme is the fastest of all."""
    found: dict[Any, dict[str, Timed]] = defaultdict(dict)
    for one in several:
        found[one.rows, one.shape][one.scheme] = one
    told = ["| Rows | Inputs to outputs | " + " | ".join(SCHEMES) + " |", "| --- " * 6 + "|"]
    for (rows, (inputs, outputs)), by_scheme in sorted(found.items()):
        if outputs == 4 * inputs:
            cells = [f"{1e6 * by_scheme[scheme].seconds:.0f}" for scheme in SCHEMES]
            told.append(f"| {rows} | {inputs} to {outputs} | " + " | ".join(cells) + " |")
    return [*told, "", "fastest: " + _counted(found), "kernels: " + _kernels(found)]


def attention_lines(several: Iterable[Timed]) -> list[str]:
    """Return a table of microseconds of the encoder's attention over a whole window, by width."""
    found: dict[int, dict[str, Timed]] = defaultdict(dict)
    for one in several:
        if one.rows == WINDOW_ROWS:
            found[one.shape[0]][one.scheme] = one
    told = ["| Width | " + " | ".join(SCHEMES) + " |", "| --- " * 5 + "|"]
    for width, by_scheme in sorted(found.items()):
        cells = [f"{1e6 * by_scheme[scheme].seconds:.0f}" for scheme in SCHEMES]
        told.append(f"| {width} | " + " | ".join(cells) + " |")
    return [*told, "", "kernels: " + _kernels(found)]


def _counted(found: Mapping[Any, Mapping[str, Timed]]) -> str:
    best = Counter(min(one, key=lambda scheme: one[scheme].seconds) for one in found.values())
    return ", ".join(f"{scheme} {count} of {len(found)}" for scheme, count in best.most_common())


def _kernels(found: Mapping[Any, Mapping[str, Timed]]) -> str:
    names = {timed.kernel: scheme for one in found.values() for scheme, timed in one.items()}
    return ", ".join(sorted(names))


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.shapes", __doc__, rounds=3)
    wanted.add_argument("--attention", action="store_true", help="of the encoder, and no layers")
    asked = wanted.parse_args(argv)
    if asked.attention:
        several = measured([(width, 0) for width in WIDTHS], asked.rounds)
        print(*attention_lines(several), sep="\n", flush=True)
    else:
        compare_layers(asked.rounds)


def compare_layers(rounds: int) -> None:
    """Print the table of all widths, and that of some without zentorch."""
    print(*lines(measured(_of(WIDTHS), rounds)), sep="\n", flush=True)
    if find_spec("zentorch"):
        with left_out("zentorch") as path:
            told = lines(measured(_of(_FEW_WIDTHS), rounds, os.environ | {"PYTHONPATH": path}))
        print("\nwithout zentorch:\n", *told, sep="\n")


if __name__ == "__main__":
    main()
