"""From the engine's token that closes the first segment to the client that reads its delta.

The service runs in this process, so that the moment it hears of the token from the engine's can be
noted; the client is a process of its own behind a real socket. Both read the same clock. The delay
is set beside one decode step, the median time between two tokens of these requests.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console
from rich.table import Table

from app.main import create_app
from app.settings import Settings
from bench.options import parser
from harness.server import DEMO, free_port

MAYDAY = DEMO / "recordings" / "radio.mp3"
CLIENT = """
import sys, time, httpx
url, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
content = open(path, "rb").read()
with httpx.Client(timeout=60) as client:
    for _ in range(count):
        ask = {"files": {"file": content}, "data": {"stream": "true"}}
        with client.stream("POST", f"{url}/v1/audio/transcriptions", **ask) as answer:
            lines = answer.iter_lines()
            for line in lines:
                if "transcript.text.delta" in line:
                    print(time.perf_counter(), flush=True)
                    break
            for _ in lines:
                pass
"""


class Clock:
    """Notes when tokens leave the engine, by wrapping what hands them out."""

    def __init__(self) -> None:
        self.closings: list[float] = []  # each request's first closing timestamp
        self.steps: list[float] = []

    def watch(self, engine: Any) -> None:
        arrivals, tokens = engine._arrivals, engine._tokens

        async def watched(*asked: Any) -> AsyncGenerator[Any]:
            stamps = 0
            async for arrived in arrivals(*asked):
                now = time.perf_counter()
                self.steps += arrived.waits
                stamps += sum(token in tokens.timestamps for token, _ in arrived.step.sampled)
                if stamps >= 2:
                    self.closings.append(now)
                    stamps = -1000
                yield arrived

        engine._arrivals = watched


def main(argv: Sequence[str] | None = None) -> None:
    asyncio.run(measure(parser("bench.first_delta", __doc__, rounds=50).parse_args(argv).rounds))


async def measure(requests: int) -> None:
    port, clock = free_port(), Clock()
    with tempfile.TemporaryDirectory() as cache:
        app = create_app(Settings(model="demo", port=port, cache_dir=Path(cache)))
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
        serving = asyncio.create_task(server.serve())
        context = app.state.context
        while context.state.default.model is None:
            await asyncio.sleep(0.2)
        clock.watch(context.state.default.model.loaded.engine)
        command = [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{port}", str(MAYDAY)]
        client = await asyncio.create_subprocess_exec(
            *command, str(requests), stdout=subprocess.PIPE
        )
        out, _ = await client.communicate()
        server.should_exit = True
        await serving
    arrived = [float(line) for line in out.split()]
    report(clock, [at - closed for at, closed in zip(arrived, clock.closings, strict=True)])


def report(clock: Clock, delays: list[float]) -> None:
    step = statistics.median(clock.steps)
    table = Table(title=f"{MAYDAY.name}, {len(delays)} streamed requests, one after another")
    for column in ("", "ms", "decode steps"):
        table.add_column(column, justify="right" if column else "left")
    ordered = sorted(delays)
    for name, value in (
        ("one decode step (median)", step),
        ("token to delta, median", statistics.median(ordered)),
        ("token to delta, p95", ordered[int(0.95 * len(ordered))]),
        ("token to delta, longest", ordered[-1]),
    ):
        table.add_row(name, f"{1000 * value:.2f}", f"{value / step:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
