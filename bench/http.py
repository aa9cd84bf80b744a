"""Requests a second and latency of the service, beside the engine it is built on.

    make bench-http
    python -m bench.http [--model demo]

The same short clips go through HTTP (upload, decode, transcribe, render) and, as waveforms that
were decoded before, straight into vLLM's AsyncLLM over the same checkpoint, with the same sampling
and as short an encoder. Both are up at once and are asked in turn, round by round, so a drift of
the machine's speed hits both. The ratio is what the service leaves of the engine's throughput; the
processors' time of a request is of all of the service's processes, by what they do.
Clips are those of a synthetic voice, the demo's where it is the model; the language is not told.
"""

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, Protocol

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from app.settings import Settings
from bench.interval import median_interval
from bench.memory import family
from bench.options import model_settings, parser, with_model
from bench.recordings import short_clips
from harness.server import DEMO, Server

REQUESTS = 48  # a round
CONCURRENCIES = (1, 4, 16)
BOUNDARY = "frontier"
HTTP = "HTTP and the detector"
NO_FIELDS: Mapping[str, str] = MappingProxyType({})

Times = list[float]  # seconds a request


def main(argv: Sequence[str] | None = None) -> None:
    asked = with_model(parser("bench.http", __doc__, clips=16, rounds=12)).parse_args(argv)
    of_voices = list(short_clips())[: asked.clips]
    clips = demo_clips(asked.clips) if asked.model == "demo" else of_voices
    cache = asked.cache or str(Settings().cache_dir)
    with (
        Server(**model_settings(asked)) as server,
        subprocess.Popen(
            [sys.executable, "-m", "bench.raw_engine", cache, served(server), *map(str, clips)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as raw,
    ):
        say, hear = raw.stdin, raw.stdout
        assert say is not None
        assert hear is not None
        assert hear.readline() == "ready\n"
        rows = {c: compare(server, (say, hear), clips, c, asked.rounds) for c in CONCURRENCIES}
        say.close()
    report(rows, len(clips))


def served(server: Server) -> str:
    """Return the fingerprint of the checkpoint that serves."""
    (model, *_) = httpx.get(f"{server.url}/v1/models").json()["data"]
    fingerprint = model["marlinscribe"]["fingerprint"]
    assert fingerprint, "what serves was not made here: the engine by itself would not find it"
    return str(fingerprint)


def demo_clips(many: int) -> list[Path]:
    return sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:many]


class Compared(NamedTuple):
    """Of each round requests a second and each request's seconds; and the processors' seconds of
    all rounds of the service's, by what its processes do."""

    service: list[tuple[float, Times]]
    engine: list[tuple[float, Times]]
    processors: Counter[str]


def compare(
    server: Server, raw: tuple[IO[str], IO[str]], clips: list[Path], concurrency: int, many: int
) -> Compared:
    """Ask both in turn; the first round warms."""
    told = Compared([], [], Counter())
    say, hear = raw
    for number in range(many + 1):
        before = work_seconds(server)
        service = asyncio.run(load_service(server, clips, concurrency))
        spent = work_seconds(server)
        print(concurrency, REQUESTS, file=say, flush=True)
        engine = tuple(json.loads(hear.readline()))
        if number:
            told.service.append(service)
            told.engine.append(engine)
            told.processors.update(spent)
            told.processors.subtract(before)
    return told


def work_seconds(server: Server) -> Counter[str]:
    """Return what the service's processes have taken of the processors so far, by what they do."""
    taken: Counter[str] = Counter()
    for one in family(server.process.pid):
        times = one.cpu_times()
        taken[_does(one, server)] += times.user + times.system
    return taken


def _does(process: psutil.Process, server: Server) -> str:
    if process.pid == server.process.pid:
        return HTTP
    return "decoding of audio" if "app.audio.worker" in process.cmdline() else "the engine"


class Listening(Protocol):
    """Whatever answers HTTP on a port of this machine."""

    @property
    def port(self) -> int: ...


async def load_service(
    server: Listening,
    clips: list[Path],
    concurrency: int,
    requests: int = REQUESTS,
    fields: Mapping[str, str] = NO_FIELDS,
) -> tuple[float, Times]:
    bodies = itertools.cycle(request(clip.read_bytes(), fields) for clip in clips)

    async def client(ask: Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await ask(lambda: exchange(reader, writer, next(bodies)))
        finally:
            writer.close()

    return await load(client, concurrency, requests)


async def load(
    client: Callable[..., Awaitable[None]], concurrency: int, requests: int
) -> tuple[float, Times]:
    """`requests` in all by so many clients, each asking again as soon as it is answered."""
    numbers, times = iter(range(requests)), []

    async def ask(one: Callable[[], Awaitable[Any]]) -> None:
        for _ in numbers:
            started = time.perf_counter()
            await one()
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client(ask) for _ in range(concurrency)))
    return requests / (time.perf_counter() - started), times


def request(content: bytes, fields: Mapping[str, str] = NO_FIELDS) -> bytes:
    """A whole HTTP request, made once: the client shares the processor with what it measures."""
    part = f"--{BOUNDARY}\r\ncontent-disposition: form-data; name="
    told = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    body = (
        f'{told}{part}"file"; filename="a.ogg"\r\n\r\n'.encode()
        + content
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    return head + body


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes
) -> bytes:
    writer.write(content)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert " 200 " in head.splitlines()[0], head
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    return await reader.readexactly(length)


def report(rows: dict[int, Compared], clips: int) -> None:
    rounds = len(next(iter(rows.values())).service)
    table = Table(
        title=f"{clips} short clips, {rounds} rounds of {REQUESTS} requests each, in turn"
    )
    for column in ("at once", "", "requests/s", "p50 ms", "p99 ms", "of the engine's throughput"):
        table.add_column(column, justify="left" if not column else "right")
    for concurrency, told in rows.items():
        pairs = zip(told.service, told.engine, strict=True)
        median, low, high = median_interval([ours[0] / its[0] for ours, its in pairs])
        for name, results in (("service", told.service), ("engine", told.engine)):
            times = sorted(one for _, times in results for one in times)
            table.add_row(
                str(concurrency),
                name,
                f"{statistics.median(rate for rate, _ in results):.2f}",
                f"{1000 * statistics.median(times):.0f}",
                f"{1000 * times[int(0.99 * len(times))]:.0f}",
                f"{median:.3f} ({low:.3f} to {high:.3f})" if name == "service" else "",
            )
        table.add_section()
    Console(width=100).print(table)
    for concurrency, told in rows.items():
        spent = (
            f"{name} {1000 * seconds / (rounds * REQUESTS):.1f}"
            for name, seconds in told.processors.items()
        )
        print(f"{concurrency} at once, processors' ms a request:", ", ".join(spent))


if __name__ == "__main__":
    main()
