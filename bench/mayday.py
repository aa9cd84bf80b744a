"""The mayday recording, 4-bit beside unquantized: time to first token, inter-token latency, bytes.

Two servers run at once and are asked in turn, so a drift of the machine's speed hits both.
Latencies are means over the requests, from the servers' own histograms.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from bench.options import parser
from harness.server import DEMO, Server

MAYDAY = DEMO / "recordings" / "radio.mp3"


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.mayday", __doc__, rounds=30).parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as cache,
        Server(cache_dir=cache) as quantized,
        Server(quantization="none") as source,
    ):
        servers = {"W4A16": quantized, "unquantized": source}
        for server in servers.values():
            server.transcribe(MAYDAY).raise_for_status()
        before = {name: sums(server) for name, server in servers.items()}
        whole: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(asked.rounds):
            for name, server in servers.items():
                started = time.monotonic()
                server.transcribe(MAYDAY).raise_for_status()
                whole[name].append(time.monotonic() - started)
        rows = {name: figures(s, before[name], whole[name]) for name, s in servers.items()}
    report(rows, asked.rounds)


def sums(server: Server) -> dict[str, float]:
    """Every sample of /metrics that is ours and has no label but its model's, by its name."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return {
        sample.name: sample.value
        for sample in samples
        if sample.name.startswith("marlinscribe_") and sample.labels.keys() <= {"model"}
    }


def figures(server: Server, before: dict[str, float], whole: list[float]) -> dict[str, float]:
    after = sums(server)

    def mean_ms(name: str) -> float:
        total = after[f"marlinscribe_{name}_sum"] - before[f"marlinscribe_{name}_sum"]
        count = after[f"marlinscribe_{name}_count"] - before[f"marlinscribe_{name}_count"]
        return 1000 * total / count

    model = httpx.get(f"{server.url}/v1/models").json()["data"][0]["marlinscribe"]
    return {
        "TTFT ms": mean_ms("time_to_first_token_seconds"),
        "ITL ms": mean_ms("inter_token_latency_seconds"),
        "request ms (median)": 1000 * statistics.median(whole),
        "weights MB": model["weight_bytes"] / 1e6,
    }


def report(rows: dict[str, dict[str, float]], requests: int) -> None:
    table = Table(title=f"{MAYDAY.name}, {requests} requests each, in turn")
    table.add_column("")
    names = list(rows)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    for figure in rows[names[0]]:
        values = [rows[name][figure] for name in names]
        table.add_row(figure, *(f"{v:.2f}" for v in values), f"{values[0] / values[1]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
