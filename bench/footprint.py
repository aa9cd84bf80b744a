"""One start with a cached checkpoint: seconds to ready, and the memory of each process.

Memory is PSS: pages that processes share count once for all. The peak is of a start and a few
transcriptions, one after another.
"""

from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.memory import family, proportional_peak, proportional_size
from bench.options import parser
from harness.processes import command
from harness.server import DEMO, Server


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.footprint", __doc__, rounds=4)
    wanted.add_argument("--model", default="demo")
    wanted.add_argument("--recording", type=Path, default=DEMO / "recordings" / "radio.mp3")
    asked = wanted.parse_args(argv)
    with Server(model=asked.model):
        pass  # makes the checkpoint, if it is not there
    server = Server(model=asked.model)
    try:
        with proportional_peak(server.process.pid) as peak:
            ready = server.wait_ready()
            computed = sum(map(cpu_seconds, family(server.process.pid)))
            for _ in range(asked.rounds):
                server.transcribe(asked.recording).raise_for_status()
        report(family(server.process.pid), peak.size, ready, computed)
    finally:
        server.stop()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def report(processes: list[psutil.Process], peak: int, ready: float, computed: float) -> None:
    table = Table(title=f"Ready after {ready:.1f} s, {computed:.1f} s of a processor")
    for column in ("process", "PSS, MB"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for process in processes:
        table.add_row(command(process)[-60:], f"{proportional_size([process]) / 1e6:.0f}")
    table.add_row("all at once, at most", f"{peak / 1e6:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
