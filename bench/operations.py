"""Where a short clip's time goes in the engine, operation by operation.

    python -m bench.operations --checkpoint FOLDER

One engine decodes the bundled judge's English clips of 3 to 5 s one at a time, heard whole, with
zentorch's kernels (where the processor is AMD's, with AVX-512) and then without. PyTorch's profiler
times each operation without those that it calls, which costs time itself: read the shares.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.checkpoints.checkpoint import Checkpoint
from app.environment import DEMO_MODEL
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.source import Source
from bench import profiled
from bench.left_out import left_out
from bench.options import parser
from bench.short_encoder import batch, windows

_SHOWN = 14  # operations


async def measure(folder: Path, clips: int) -> dict[str, tuple[float, float]]:
    """Return each operation's milliseconds and calls a clip."""
    device = pick_device("auto")
    forkserver.start(device, forkserver.environment(device, "warning"))
    checkpoint = Checkpoint(Source(folder.name, folder, ""), folder)
    model = await Loader(Settings(short_encoder="off"), device).load(checkpoint, None, windows=1)
    engine: Any = model.loaded.engine
    try:
        several = windows(clips)
        for window in several[:2]:
            await batch(model.loaded.decoder, [window], is_whole=True)
        await engine.call(profiled.begin)
        for window in several:
            await batch(model.loaded.decoder, [window], is_whole=True)
        told = await engine.call(profiled.end)
    finally:
        await asyncio.to_thread(engine.stop)
    return {name: (1000 * s / len(several), n / len(several)) for name, s, n in told}


def without_zentorch(folder: Path, clips: int) -> dict[str, tuple[float, float]]:
    """Measure in a process in which it cannot be imported."""
    with left_out("zentorch") as path:
        command = [sys.executable, "-m", "bench.operations", "--checkpoint", str(folder)]
        told = subprocess.run(
            [*command, "--clips", str(clips), "--json"],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            check=True,
        )
    return {name: (ms, n) for name, (ms, n) in json.loads(told.stdout.splitlines()[-1]).items()}


def table(title: str, told: Mapping[str, tuple[float, float]]) -> Table:
    drawn = Table("operation", "ms a clip", "calls a clip", "share", title=title)
    whole = sum(ms for ms, _ in told.values())
    for name, (ms, calls) in sorted(told.items(), key=lambda one: -one[1][0])[:_SHOWN]:
        drawn.add_row(name, f"{ms:.1f}", f"{calls:.0f}", f"{ms / whole:.0%}")
    drawn.add_row("all", f"{whole:.1f}", "", "")
    return drawn


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.operations", __doc__, clips=12)
    wanted.add_argument(
        "--checkpoint", type=Path, default=DEMO_MODEL, help="its folder (default: the demo's)"
    )
    wanted.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    asked = wanted.parse_args(argv)
    told = asyncio.run(measure(asked.checkpoint, asked.clips))
    if asked.json:
        print(json.dumps(told))
        return
    console = Console(width=100)
    console.print(table("as it serves", told))
    console.print(table("without zentorch", without_zentorch(asked.checkpoint, asked.clips)))


if __name__ == "__main__":
    main()
