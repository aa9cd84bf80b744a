"""Does Prometheus tell what the server's log tells? And does the dashboard ask for what there is?

A real server, a real Prometheus with our prometheus.yml (asking every second instead of every
fifteen), and load: clips, streams, mistakes, clients that leave, and more requests than are let in.
Under it a checkpoint is made and proven, and the engine is killed. Then its figures are compared
with those of the log, and every query of dashboard, rules and alerts is asked: all but alerts must
return data. Ends with status 1 where anything differs.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from app.metrics import Metrics
from bench.options import parser
from harness.processes import engine_of
from harness.server import DEMO, Server, free_port

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
ROUTE = "/v1/audio/transcriptions"
# One client (an address) has three quarters of the places, and the engine takes fewer than that at
# once: so some are refused, and some wait in line.
CLIENTS, MOST = 28, 32
ADMIN = "an-admin"
# Few: a job gets what the load leaves of the processors, and hears each of them twice.
_PROOF = {"sources": str(DEMO / "recordings" / "test"), "samples": 4, "mix": {"en": 1, "zh": 1}}
ORDER = {"recipe": {"method": "rtn"}, "proof": _PROOF}

Samples = list[tuple[dict[str, str], float]]


@dataclass
class Prometheus:
    url: str

    def ask(self, query: str, moment: float | None = None) -> Samples:
        """As it is now, or was then (seconds since 1970). Raises ValueError for a query that does
        not parse."""
        params = {"query": query} | ({} if moment is None else {"time": str(moment)})
        body = httpx.get(f"{self.url}/api/v1/query", params=params, timeout=30).json()
        if body["status"] != "success":
            raise ValueError(body["error"])
        found = body["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def one(self, query: str) -> float:
        return sum(value for _, value in self.ask(query))

    def rules(self) -> list[dict[str, Any]]:
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """One that scrapes the port as deploy/prometheus says, with its data in the folder."""
    source = DEPLOY / "prometheus"
    config = yaml.safe_load((source / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(source / name) for name in config["rule_files"]]
    (job, _) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def load(server: Server) -> Iterator[None]:
    """So many clients, each asking again as soon as it is answered."""
    over = threading.Event()
    clips = cycle(sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:32])
    lock = threading.Lock()

    def client(number: int) -> None:
        turn = number
        while not over.is_set():
            with lock:
                clip = next(clips)
            ask(server, clip, turn)
            turn += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def ask(server: Server, clip: Path, turn: int) -> None:
    """A transcription; every few turns a stream, a mistake, or a client that leaves."""
    fields = {3: {"stream": "true"}, 5: {"temperature": "7"}, 7: {"model": "nobody's"}}
    impatient = turn % 11 == 9
    # The one exception is the point: a read timeout is how a client leaves.
    with suppress(httpx.ReadTimeout), clip.open("rb") as file:
        answer = httpx.post(
            server.url + ROUTE,
            data=fields.get(turn % 11, {}),
            files={"file": (clip.name, file)},
            timeout=httpx.Timeout(300, read=0.05 if impatient else 300),
        )
        if answer.status_code in (429, 503):
            time.sleep(0.5)


def requests_in(log: str) -> list[dict[str, Any]]:
    """What the log's line of each transcription says."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("path") == ROUTE]


@dataclass
class Verdict:
    """Rows of (what, Prometheus, log, whether they agree)."""

    rows: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def same(self, what: str, told: float, logged: float, tolerance: float = 0.0) -> None:
        agree = math.isclose(told, logged, rel_tol=1e-9, abs_tol=tolerance)
        self.rows.append((what, f"{told:.6g}", f"{logged:.6g}", agree))

    def within(self, what: str, told: float, bounds: tuple[float, float]) -> None:
        low, high = bounds
        self.rows.append((what, f"{told:.4g}", f"{low:g} to {high:g}", low <= told <= high))


def compare(source: Prometheus, lines: list[dict[str, Any]]) -> Verdict:
    verdict, route = Verdict(), f'route="{ROUTE}"'
    statuses = Counter(str(line["status"]) for line in lines)
    told = source.ask(f"sum by (status) (marlinscribe_requests_total{{{route}}})")
    counted = {labels["status"]: value for labels, value in told}
    for status in sorted(statuses | counted.keys()):
        verdict.same(f"answers {status}", counted.get(status, 0), statuses[status])

    def total(metric: str, what: str, key: str, digits: int) -> None:
        values = [line[key] for line in lines if key in line]
        rounding = len(values) * 0.5 * 10**-digits
        verdict.same(what, source.one(metric), sum(values), rounding)

    durations = "marlinscribe_request_duration_seconds"
    total(f"{durations}_sum{{{route}}}", "seconds of requests", "seconds", 4)
    total("marlinscribe_audio_received_seconds_total", "seconds of audio", "audio_seconds", 3)
    for name in ("upload", "decode", "queue", "first_token"):
        metric = getattr(Metrics(), name)._name
        total(f"{metric}_sum", f"seconds of {name}", f"{name}_seconds", 4)
    aborted = sum(1 for line in lines if line.get("aborted"))
    verdict.same("clients that left", source.one("marlinscribe_client_aborts_total"), aborted)
    told_ones = sum(1 for line in lines if "rtfx" in line)
    verdict.same("texts told", source.one("marlinscribe_rtfx_count"), told_ones)
    p95 = source.one(f"histogram_quantile(0.95, sum by (le) ({durations}_bucket{{{route}}}))")
    verdict.within("p95 of requests, s", p95, bucket_of_p95([line["seconds"] for line in lines]))
    return verdict


def bucket_of_p95(seconds: list[float]) -> tuple[float, float]:
    """The bounds of the histogram's bucket that it lies in: a quantile knows no better."""
    p95 = sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
    bounds = [0.0, *Metrics().request._kwargs["buckets"]]
    at = bisect_left(bounds, p95)
    return bounds[at - 1], bounds[at]


def queries() -> Iterator[tuple[str, str]]:
    """Where each query stands, and the query as Grafana would send it."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/marlinscribe.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$instance", ".+").replace("$__rate_interval", "1m")
            yield f"panel {panel['title']}", expr
    for name in ("rules", "alerts"):
        rules = yaml.safe_load((DEPLOY / f"prometheus/{name}.yml").read_text("utf-8"))
        for rule in rules["groups"][0]["rules"]:
            yield f"{name} {rule.get('record') or rule['alert']}", rule["expr"]


def ask_all(source: Prometheus, during_job: float) -> tuple[list[str], Counter[str]]:
    """What is wrong, and how many queries came to what."""
    wrong, outcomes = [], Counter[str]()
    for place, query in queries():
        try:
            found = source.ask(query) or source.ask(query, during_job)
        except ValueError as error:
            wrong.append(f"{place}: {error}")
            continue
        if found:
            outcomes["return data"] += 1
        elif place.startswith("alerts "):
            outcomes["are alerts that do not hold"] += 1
        else:
            wrong.append(f"{place}: no data for {query}")
    for rule in source.rules():
        if rule["health"] != "ok":
            wrong.append(f"{rule['name']}: {rule.get('lastError', rule['health'])}")
    return wrong, outcomes


def observed(
    folder: Path, seconds: int
) -> tuple[list[dict[str, Any]], Verdict, list[str], Counter[str]]:
    server = Server(
        cache_dir=folder / "cache", max_requests=MOST, log_format="json", admin_key=ADMIN
    )
    try:
        with prometheus(folder, server.port) as source:
            refused_until_ready(server)
            with load(server):
                during_job = run_job(server, source)
                engine_of(server).kill()
                server.wait_for("restarting", seconds=30)
                server.wait_for("ready", seconds=120)
                time.sleep(seconds)
            until(lambda: source.one("marlinscribe_requests_in_flight") == 0, 60)
            time.sleep(3)  # a scrape and an evaluation after the last answer
            lines = requests_in(server.read_log())
            return lines, compare(source, lines), *ask_all(source, during_job)
    finally:
        server.stop()


def run_job(server: Server, source: Prometheus) -> float:
    """A job from its order to its end; a moment at which Prometheus had seen it run."""
    with httpx.Client(
        base_url=server.url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=60
    ) as admin:
        answer = admin.post("/quantize", json=ORDER)
        assert answer.status_code == 202, answer.text
        job, moment = answer.json(), 0.0
        while job["status"] in ("queued", "running"):
            if source.ask("marlinscribe_job_progress_ratio"):
                moment = time.time()
            time.sleep(0.5)
            job = admin.get(f"/quantize/{job['id']}").json()
    assert job["status"] in ("proven", "rejected"), job
    return moment


def refused_until_ready(server: Server) -> None:
    """Who asks while it starts is answered 503, and counted."""
    server.wait_for("resolving", "quantizing", "loading", "warming", "ready")
    while server.health().get("status") != "ready":
        ask(server, DEMO / "recordings" / "radio.mp3", turn=0)
        time.sleep(2)
        assert server.process.poll() is None, server.read_log()[-4000:]


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "requests are still in flight"
        time.sleep(0.5)


def main(argv: Sequence[str] | None = None) -> int:
    asked = parser("bench.observe", __doc__, seconds=10).parse_args(argv)
    console = Console()
    if shutil.which("prometheus") is None:
        console.print("This needs Prometheus on the PATH; in Debian: apt-get install prometheus.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        lines, verdict, wrong, outcomes = observed(Path(folder), asked.seconds)
    table = Table(title=f"{len(lines)} requests of {CLIENTS} clients")
    for column in ("", "Prometheus", "log", ""):
        table.add_column(column, justify="left" if not column else "right")
    for what, told, logged, agree in verdict.rows:
        table.add_row(what, told, logged, "" if agree else "[red]differs")
    console.print(table)
    every = outcomes.total() + len(wrong)
    said = ", ".join(f"{count} {what}" for what, count in outcomes.items())
    console.print(f"Of {every} queries of dashboard, rules and alerts, {said}.")
    for one in wrong:
        console.print(one, style="red", markup=False)
    return 1 if wrong or not all(row[3] for row in verdict.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
