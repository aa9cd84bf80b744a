"""What clients notice of a quantization job: latency before it, in each of its stages, and after.

One client asks for radio.mp3 again and again, on one real server that goes on serving meanwhile.
"""

import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import httpx
from rich.console import Console
from rich.table import Table

from bench.options import parser
from harness.server import DEMO, Server

MAYDAY = DEMO / "recordings" / "radio.mp3"
KEY = "the-admins"
ORDER = {
    "recipe": {"method": "gptq", "group_size": 64},
    "calibration": {"sources": str(DEMO / "recordings" / "calibration")},
    "proof": {"sources": str(DEMO / "recordings" / "test"), "samples": 32},
    "promote": "never",
}
BEFORE, AFTER = "no job", "after it"
FEW = 5  # requests, of which no percentile is shown


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.beside", __doc__, rounds=60).parse_args(argv)
    took: defaultdict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as cache,
        Server(cache_dir=cache, admin_key=KEY, while_quantizing="serve") as server,
    ):
        ask(server)
        for _ in range(asked.rounds):
            took[BEFORE].append(ask(server))
        job = httpx.post(f"{server.url}/quantize", json=ORDER, headers=headers(), timeout=60)
        job.raise_for_status()
        watch = Watch(server, job.json()["id"])
        while watch.status in ("queued", "running"):
            took[watch.stage].append(ask(server))
        assert watch.status in ("proven", "rejected"), watch.status
        for _ in range(asked.rounds):
            took[AFTER].append(ask(server))
    report(took)


def ask(server: Server) -> float:
    """Seconds. Every answer must be one."""
    started = time.perf_counter()
    server.transcribe(MAYDAY).raise_for_status()
    return time.perf_counter() - started


def headers() -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}"}


class Watch:
    """Where a job is, asked a few times a second beside the load."""

    def __init__(self, server: Server, job: str) -> None:
        self._url = f"{server.url}/quantize/{job}"
        self.status, self.stage = "queued", ""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self.status in ("queued", "running"):
            job = httpx.get(self._url, headers=headers(), timeout=60).json()
            self.status, self.stage = job["status"], job["stage"]
            time.sleep(0.3)


def report(took: dict[str, list[float]]) -> None:
    # Both, as the machine's own speed drifts meanwhile.
    alone = statistics.median(took[BEFORE] + took[AFTER])
    table = Table("", "requests", "p50 ms", "p95 ms", "p50 / without", title=MAYDAY.name)
    for stage, seconds in took.items():
        if len(seconds) >= FEW:
            p50, p95 = statistics.median(seconds), sorted(seconds)[int(0.95 * len(seconds))]
            row = (f"{1000 * p50:.0f}", f"{1000 * p95:.0f}", f"{p50 / alone:.2f}")
            table.add_row(stage, str(len(seconds)), *row)
    Console().print(table)


if __name__ == "__main__":
    main()
