"""What metrics and admission cost: the service beside itself without them.

Both are up at once and are asked in turn, in short rounds, so that a drift of the machine's speed
hits both; which is first changes from round to round. Beside the throughput, the processor time
that the server's own process takes for a request, which is less noisy.
"""

import asyncio
import random
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.http import CLIPS, load_service
from bench.server import DEMO, Server

ROUNDS = 30
AT_ONCE = 8
RESAMPLES = 2000
TICK = 100  # a second, in /proc (sysconf(_SC_CLK_TCK))


def main() -> None:
    clips = sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:CLIPS]
    ratios: dict[str, list[float]] = {"throughput": [], "processor time": []}
    with (
        tempfile.TemporaryDirectory() as cache,
        Server(cache_dir=cache) as whole,
        Server(cache_dir=cache, module="bench.bare") as bare,
    ):
        for number in range(ROUNDS + 2):  # the first two warm
            servers = [whole, bare] if number % 2 else [bare, whole]
            rates, costs = {}, {}
            for server in servers:
                before = processor_seconds(server)
                rates[server], _ = asyncio.run(load_service(server, clips, AT_ONCE))
                costs[server] = processor_seconds(server) - before
            if number > 1:
                ratios["throughput"].append(rates[whole] / rates[bare])
                ratios["processor time"].append(costs[whole] / costs[bare])
    report(ratios)


def processor_seconds(server: Server) -> float:
    """User's and system's, of the HTTP process."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def report(ratios: dict[str, list[float]]) -> None:
    title = f"with metrics and admission / without; {ROUNDS} rounds, {AT_ONCE} at once"
    table = Table("", "median ratio", "95 % interval", title=title)
    for name, values in ratios.items():
        chance = random.Random(0)
        medians = sorted(
            statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)
        )
        low, high = medians[RESAMPLES // 40], medians[-RESAMPLES // 40]
        table.add_row(name, f"{statistics.median(values):.4f}", f"{low:.4f} to {high:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
