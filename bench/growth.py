"""Whether a server's memory grows with what it hears: PSS after every few rounds.

A round is 25 s of speech from each of sixteen clients at once, which an engine encodes several at a
time. The first rounds fill its caches; what each later one adds is a leak. In the end the engine
rests until it has given freed memory back.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.http import load_service
from bench.memory import family, proportional_size
from bench.options import model_settings, parser, with_model
from bench.throughput import middle
from harness.server import Server

AT_ONCE = 16
LOOKS = 5
REST_SECONDS = 8


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.growth", __doc__, rounds=20))
    asked = wanted.parse_args(argv)
    between = -(-asked.rounds // LOOKS)
    table = Table(title=f"{AT_ONCE} clips of 25 s a round, PSS in MB")
    for column in ("rounds", "all processes", "the engine"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder, Server(**model_settings(asked)) as server:
        clips = [one.path for one in middle(Path(folder))]
        for number in range(1, asked.rounds + 1):
            asyncio.run(load_service(server, clips, AT_ONCE, AT_ONCE))
            if number == 1 or number % between == 0:
                table.add_row(str(number), *held(server.process.pid))
        time.sleep(REST_SECONDS)
        table.add_row("at rest", *held(server.process.pid))
    Console().print(table)


def held(pid: int) -> tuple[str, str]:
    """Return the PSS of a server's processes, and that of the engine, which is the largest."""
    sizes = [proportional_size([process]) for process in family(pid)]
    return f"{sum(sizes) / 1e6:.0f}", f"{max(sizes) / 1e6:.0f}"


if __name__ == "__main__":
    main()
