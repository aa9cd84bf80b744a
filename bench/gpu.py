"""What recipes give on one NVIDIA card, behind our service and behind vLLM's own server.

    python -m bench.gpu [--model FOLDER] [--like FOLDER] [--gib 7.2]

Needs a card and no network. Four checkpoints of one source are made by rounding, which costs what
other methods cost to serve: fp16; W4A16 throughout (Marlin); the encoder in W8A8 and the decoder in
W4A16; and from Ada (8.9) on the encoder in FP8. Each is served by ours and by `vllm serve`, one
after another, with so much of the card's memory: a process of the benchmark holds the rest. Clients
ask for clips of 3 to 5 s, 1 to 64 at once, each again when it is answered.

Without --model the weights are random, in whisper-large-v2's shape (--layers: fewer): they cost
what real ones cost and write noise, up to a window of 64 tokens, so that not transcripts but
tokens and windows a second compare; --like names any multilingual Whisper whose tokenizer they
take (vllm serve does not do with the demo's). A row that cannot be measured says why. Tables come
last.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from app.checkpoints.recipe import Recipe
from app.commands.bench import SETTLE_SECONDS
from app.quantization.builder import CheckpointBuilder
from app.settings import Settings
from app.sources.resolve import resolve
from bench.float8 import to_float8
from bench.options import parser
from bench.peers import Peer
from bench.random_checkpoint import LARGE_V2, make
from bench.throughput import Load, Recording, asked_for, recordings
from bench.transcribers import vllm_server
from harness.server import DEMO, Server

NOTHING = "No NVIDIA card answers (nvidia-smi): nothing to measure."
AT_ONCE = (1, 4, 16, 64)
FP8_FROM = (8, 9)  # Ada
MIB, GIB = 2**20, 2**30
_ENCODER_8 = {"components": dict.fromkeys(("encoder.attention", "encoder.mlp"), "W8A8")}
_FP8 = "encoder FP8, decoder W4A16"
RECIPES: Mapping[str, dict[str, Any] | None] = {
    "fp16": None,
    "W4A16": {},
    "encoder W8A8, decoder W4A16": _ENCODER_8,
    _FP8: _ENCODER_8,
}
SERVERS = ("Marlinscribe", "vllm serve")
_WINDOW = 64  # tokens, where weights are random
_VLLM_SHARE = 0.93  # of what is free: a CUDA context takes the rest before vLLM looks
_COLUMNS = (
    "weights", "server", "at once", "RTFx", "p50 ms", "p95 ms", "tokens/s", "windows/s", "MiB",
)  # fmt: skip
_BALLAST = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""
Row = tuple[str, ...]


class Card(NamedTuple):
    name: str
    capability: tuple[int, int]
    total: int  # bytes


def main(argv: Sequence[str] | None = None) -> int:
    wanted = parser("bench.gpu", __doc__, clips=16, rounds=3, layers=LARGE_V2["encoder_layers"])
    wanted.add_argument("--model", type=Path, help="a folder of real weights, in 16 or 32 bits")
    wanted.add_argument("--like", type=Path, default=DEMO / "marine-radio", help="see above")
    wanted.add_argument("--gib", type=float, default=7.2, help="of the card (default: 7.2)")
    wanted.add_argument(
        "--at-once", type=int, nargs="+", default=AT_ONCE, help="clients (default: 1 4 16 64)"
    )
    asked = wanted.parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    one = card()
    if one is None:
        show(NOTHING, blank(asked.at_once))
        return 1
    with tempfile.TemporaryDirectory(prefix="marlinscribe-gpu-") as folder, ballast(one, asked.gib):
        show(f"{one.name}, {asked.gib:g} GiB", list(measured(asked, one, Path(folder))))
    return 0


def card() -> Card | None:
    """Return the first card, as nvidia-smi describes it: CUDA itself would take memory on it."""
    told = _nvidia_smi("name,compute_cap,memory.total")
    if told is None:
        return None
    name, capability, total = (part.strip() for part in told.split(","))
    major, minor = map(int, capability.split("."))
    return Card(name, (major, minor), int(total) * MIB)


def _nvidia_smi(query: str) -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.splitlines()[0] if run.returncode == 0 and run.stdout else None


@contextmanager
def ballast(one: Card, gib: float) -> Iterator[None]:
    """Hold the card's memory but for so much, where it has more."""
    if one.total <= gib * GIB:
        yield
        return
    command = [sys.executable, "-c", _BALLAST, str(int(gib * GIB))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", "the card's memory cannot be held"
        yield
        process.communicate()  # which ends its standard input


def measured(asked: argparse.Namespace, one: Card, work: Path) -> Iterator[Row]:
    """Yield the rows of every checkpoint behind both servers."""
    clips = recordings("short", asked.clips, work)
    share = str(round(_VLLM_SHARE * min(1.0, asked.gib * GIB / one.total), 4))
    for name, folder in checkpoints(asked, work, one.capability):
        contexts = partial(ours, folder), partial(theirs, folder, share)
        for server, context in zip(SERVERS, contexts, strict=True):
            for told in tried(context, name, server, clips, asked):
                print(*told, sep=" | ", flush=True)
                yield told


def checkpoints(
    asked: argparse.Namespace, work: Path, capability: tuple[int, int]
) -> Iterator[tuple[str, Path]]:
    """Make the source and what recipes make of it, one after another, each with its name."""
    layers = {f"{stack}_layers": asked.layers for stack in ("encoder", "decoder")}
    folder = asked.model or work / "source"
    if not asked.model:
        make(folder, like=asked.like, max_target_positions=_WINDOW, **layers)
    yield from made(folder, work, with_float8=capability >= FP8_FROM)


def made(folder: Path, work: Path, *, with_float8: bool) -> Iterator[tuple[str, Path]]:
    """Yield the source's folder, and that of each recipe."""
    settings = Settings(cache_dir=work / "cache", model=str(folder))
    source, builder = resolve(str(folder), settings.cache_dir), CheckpointBuilder(settings)
    for name, fields in RECIPES.items():
        if fields is None:
            yield name, folder
        elif name != _FP8 or with_float8:
            recipe = Recipe(method="rtn", dtype="float16", **fields)
            entry = builder.make(source, recipe, lambda _: None)
            yield name, to_float8(entry.folder, work / "fp8") if name == _FP8 else entry.folder


@contextmanager
def ours(folder: Path) -> Iterator[Peer]:
    # What random weights repeat would be heard at all temperatures.
    settings: dict[str, Any] = {"quantization": "none", "temperature_fallback": False}
    with Server(model=folder, **settings) as server:
        (model, *_) = httpx.get(f"{server.url}/v1/models", timeout=60).json()["data"]
        print(model["marlinscribe"]["kernels"], flush=True)
        yield Peer(SERVERS[0], server.port, server.process.pid, {"language": "en"})


@contextmanager
def theirs(folder: Path, share: str) -> Iterator[Peer]:
    """Run vLLM's own server with a share of the card's memory."""
    with vllm_server(str(folder), "--gpu-memory-utilization", share) as (url, pid):
        fields = {"language": "en", "model": str(folder)}
        yield Peer(SERVERS[1], int(url.rsplit(":", 1)[1]), pid, fields)


def tried(
    context: Callable[[], Any],
    name: str,
    server: str,
    clips: Sequence[Recording],
    asked: argparse.Namespace,
) -> Iterator[Row]:
    """Yield a server's rows; one that says why where it fails, for others are yet to come."""
    before = used()
    try:
        with context() as peer:
            for at_once in asked.at_once:
                yield row(peer, name, at_once, clips, asked.rounds, before)
    except Exception as error:
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        yield (name, server, "", f"not measured: {last[:120]}", *[""] * (len(_COLUMNS) - 4))


def row(
    peer: Peer, name: str, at_once: int, clips: Sequence[Recording], rounds: int, before: int
) -> Row:
    """Measure one load. Tokens and windows are the engine's, by its metrics."""
    load = Load(max(8, 2 * at_once), at_once)
    asyncio.run(asked_for(peer, "short", clips, load))  # warms
    counted = counts(peer)
    told = [asyncio.run(asked_for(peer, "short", clips, load)) for _ in range(rounds)]
    took = sum(clips[n % len(clips)].seconds for n in range(load.requests)) * sum(
        1 / one.rtfx for one in told
    )
    tokens, windows = (now - then for now, then in zip(counts(peer), counted, strict=True))
    times = sorted(one for each in told for one in each.times)
    return (
        name,
        peer.name,
        str(at_once),
        f"{statistics.median(one.rtfx for one in told):.1f}",
        f"{1000 * statistics.median(times):.0f}",
        f"{1000 * times[int(0.95 * len(times))]:.0f}",
        f"{tokens / took:.0f}",
        f"{windows / took:.1f}",
        f"{used() - before}",
    )


def counts(peer: Peer) -> tuple[float, float]:
    """Return how many tokens the engine has written, and how many windows it has begun. Ours tells
    once a second."""
    time.sleep(SETTLE_SECONDS)
    text = httpx.get(f"http://127.0.0.1:{peer.port}/metrics", timeout=60).text
    return total(text, "vllm:generation_tokens_total"), total(
        text, "vllm:time_to_first_token_seconds_count"
    )


def total(text: str, name: str) -> float:
    """Add the samples of that name in an exposition."""
    lines = (line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} ")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def used() -> int:
    """Return the MiB that are taken of the card."""
    return int(_nvidia_smi("memory.used") or 0)


def blank(at_once: Sequence[int]) -> list[Row]:
    """Return the rows that a card would fill."""
    empty = [""] * (len(_COLUMNS) - 3)
    return [
        (name, server, str(number), *empty)
        for name in RECIPES
        for server in SERVERS
        for number in at_once
    ]


def show(title: str, rows: Sequence[Row]) -> None:
    table = Table(title=title)
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if number > 1 else "left")
    for one in rows:
        table.add_row(*one)
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
