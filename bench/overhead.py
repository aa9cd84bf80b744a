"""What metrics and admission cost: the service beside itself without them.

Both are up at once and are asked in turn, in short rounds, so that a drift of the machine's speed
hits both; which is first changes from round to round. Throughput is noisy by some percent. Less so
is processor time: what the process that answers HTTP takes more, as a share of what a request takes
of all of the service's processes, is what a machine whose processors are the limit loses.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.http import HTTP, REQUESTS, demo_clips, load_service, work_seconds
from bench.interval import median_interval
from bench.options import parser
from harness.server import Server

AT_ONCE = 8
MOST = 0.01  # of the processors' time, or the status is 1


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.overhead", __doc__, clips=16, rounds=30).parse_args(argv)
    clips = demo_clips(asked.clips)
    with (
        tempfile.TemporaryDirectory() as cache,
        Server(cache_dir=cache) as whole,
        Server(cache_dir=cache, module="bench.bare") as bare,
    ):
        rounds = []
        for number in range(asked.rounds + 2):  # the first two warm
            turn = [whole, bare] if number % 2 else [bare, whole]
            told = {server: ask(server, clips) for server in turn}
            rounds.append((told[whole], told[bare]))
    report(rounds[2:])


class Asked(NamedTuple):
    """rate: requests a second. http, all: processor seconds of HTTP's process, and of them all."""

    rate: float
    http: float
    all: float


def ask(
    server: Server, clips: list[Path], at_once: int = AT_ONCE, requests: int = REQUESTS
) -> Asked:
    http, everything = processor_seconds(server)
    rate, _ = asyncio.run(load_service(server, clips, at_once, requests))
    http_then, everything_then = processor_seconds(server)
    return Asked(rate, http_then - http, everything_then - everything)


def processor_seconds(server: Server) -> tuple[float, float]:
    """User's and system's: of the process that answers HTTP, and with all of its children's."""
    taken = work_seconds(server)
    return taken[HTTP], sum(taken.values())


def report(rounds: list[tuple[Asked, Asked]]) -> None:
    ratios = {
        "throughput": [whole.rate / bare.rate for whole, bare in rounds],
        "processor time, HTTP's process": [whole.http / bare.http for whole, bare in rounds],
        "processor time, all processes": [
            1 + (whole.http - bare.http) / bare.all for whole, bare in rounds
        ],
    }
    title = f"with metrics and admission / without; {len(rounds)} rounds, {AT_ONCE} at once"
    table = Table("", "median ratio", "95 % interval", title=title)
    for name, values in ratios.items():
        median, low, high = median_interval(values)
        table.add_row(name, f"{median:.4f}", f"{low:.4f} to {high:.4f}")
    Console(width=100).print(table)
    cost = statistics.median(ratios["processor time, all processes"]) - 1
    sys.exit(1 if cost > MOST else 0)


if __name__ == "__main__":
    main()
