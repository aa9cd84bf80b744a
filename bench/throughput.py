"""How fast the service is beside others, on the same weights, machine and recordings.

    make bench-throughput
    python -m bench.throughput [--own-kernels] [--vllm FOLDER]
                               [--faster-whisper PYTHON --peer-model FOLDER [--float32]]

What a start makes of whisper-base, the unquantized source, faster-whisper in int8 (--float32: in
float32 too), with one worker on all processors and with a worker on each, and vLLM's own server are
up at once. They are asked in turn, round by round, and who is first changes, so that a drift of the
machine's speed hits all. Clips are those of a synthetic voice: short ones of the judge, middle ones
of 25 seconds (each nearly a window), and eleven minutes. The language is told, tokens are the
likeliest. Of a recording of minutes faster-whisper has its windows in batches, behind its detector.
On AMD's processors vLLM takes zentorch's kernels, its server's too; --own-kernels asks ours without
them beside.

RTFx is seconds of sound a second. `ours / it` is the ratio of the default's to it in the same
round, with 95 % intervals; the processors' time is of all of a server's processes, memory their
PSS, after all of it. WER is of one answer to each clip of the row.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from app.recordings.error_rates import Pair, count, rate
from bench.hours import short_clips
from bench.http import load_service
from bench.interval import median_interval
from bench.left_out import left_out
from bench.memory import family, proportional_size
from bench.options import model_settings, parser, with_model
from bench.recordings import JUDGE, LONG, manifest
from bench.talk import as_opus
from bench.transcribers import await_ready, vllm_server
from bench.word_recordings import timed
from harness.server import Server, free_port

MIDDLE_SECONDS = 25.0
AT_ONCE = (1, 4, 16)
REQUESTS = {"short": {1: 6, 4: 16, 16: 32}, "middle": {1: 3, 4: 8, 16: 16}, "long": {1: 1}}
DEFAULT, SOURCE = "Marlinscribe", "Marlinscribe, unquantized"
_WITHOUT = ", without zentorch"
PATIENCE = 600  # seconds without an answer


@dataclass
class Peer:
    """A server that answers as OpenAI's does. fields: what its requests say. batched: what they say
    beside, of a recording of minutes."""

    name: str
    port: int
    pid: int
    fields: Mapping[str, str]
    batched: Mapping[str, str] = field(default_factory=dict)

    def asked(self, sort: str) -> dict[str, str]:
        """Return the fields of a request."""
        return {**self.fields, **(self.batched if sort == "long" else {})}

    def processor_seconds(self) -> float:
        """Return the processors' time of all of its processes."""
        return sum(one.cpu_times().user + one.cpu_times().system for one in family(self.pid))


class Recording(NamedTuple):
    path: Path
    text: str
    seconds: float


class Round(NamedTuple):
    """times: seconds of each request. processors: their seconds, of a second of sound."""

    rtfx: float
    times: list[float]
    processors: float


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.throughput", __doc__, clips=16, rounds=5))
    wanted.add_argument("--faster-whisper", metavar="PYTHON", help="of its environment")
    wanted.add_argument("--peer-model", metavar="FOLDER", help="the weights for CTranslate2")
    wanted.add_argument("--float32", action="store_true", help="it in float32 too")
    wanted.add_argument(
        "--own-kernels", action="store_true", help="ours without zentorch's kernels too"
    )
    wanted.add_argument("--vllm", metavar="FOLDER", help="the weights for vLLM")
    wanted.add_argument("--only", choices=REQUESTS, help="recordings of one length")
    asked = wanted.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        peers = [stack.enter_context(one) for one in everybody(asked)]
        table = tables(len(peers))
        for sort in [asked.only] if asked.only else REQUESTS:
            clips = recordings(sort, asked.clips, Path(folder))
            errors = {peer.name: word_errors(peer, sort, clips) for peer in peers}
            for at_once, requests in REQUESTS[sort].items():
                told = in_turn(peers, sort, clips, (at_once, requests), asked.rounds)
                for row in rows(told, f"{sort}, {at_once} at once", errors):
                    print(*row, sep=" | ", flush=True)
                    table.add_row(*row)
                table.add_section()
        print(*(f"{peer.name}: {memory(peer) / 1e6:.0f} MB" for peer in peers), sep="; ")
    Console(width=140).print(table)


def everybody(asked: argparse.Namespace) -> Iterator[Any]:
    """Yield a context for each peer in which it is up."""
    kinds = {DEFAULT: model_settings(asked)}
    if asked.quantization != "none":
        kinds[SOURCE] = model_settings(asked) | {"quantization": "none"}
    for name, settings in kinds.items():
        yield ours(name, settings)
        if asked.own_kernels:
            yield ours(name + _WITHOUT, settings, has_zentorch=False)
    processors = len(os.sched_getaffinity(0))
    if asked.faster_whisper:
        for kind in ("int8", "float32") if asked.float32 else ("int8",):
            for workers, threads in ((1, processors), (processors, 1)):
                yield faster_whisper(asked, kind, workers, threads)
    if asked.vllm:
        yield vllm(asked.vllm, processors)


@contextmanager
def ours(name: str, settings: dict[str, Any], *, has_zentorch: bool = True) -> Iterator[Peer]:
    # vLLM does without what cannot be imported.
    with left_out("zentorch") as folder:
        prefix = () if has_zentorch else ("env", f"PYTHONPATH={folder}")
        with Server(prefix=prefix, **settings) as server:
            yield Peer(name, server.port, server.process.pid, {"language": "en"})


@contextmanager
def vllm(folder: str, processors: int) -> Iterator[Peer]:
    """By default it leaves a processor free; here it may have all of them, as the others do."""
    with vllm_server(folder, VLLM_CPU_OMP_THREADS_BIND=f"0-{processors - 1}") as server:
        url, pid = server
        port = int(url.rsplit(":", 1)[1])
        yield Peer("vllm serve, bf16", port, pid, {"language": "en", "model": folder})


@contextmanager
def faster_whisper(
    asked: argparse.Namespace, kind: str, workers: int, threads: int
) -> Iterator[Peer]:
    port = free_port()
    command = [asked.faster_whisper, "-m", "bench.peer_faster_whisper_server", asked.peer_model]
    with subprocess.Popen([*command, str(port), kind, str(workers), str(threads)]) as process:
        try:
            await_ready(f"http://127.0.0.1:{port}/", process)
            name = f"faster-whisper {kind}, {workers} x {threads}"
            yield Peer(name, port, process.pid, {"language": "en"}, {"batched": "1"})
        finally:
            process.terminate()


def recordings(sort: str, clips: int, folder: Path) -> list[Recording]:
    """Return recordings of that length, with their words."""
    if sort == "long":
        (row,) = (row for row in manifest(LONG) if row["audio"] == "prose.ogg")
        return [Recording(LONG / "prose.ogg", row["text"], row["duration"])]
    if sort == "short":
        texts = {JUDGE / row["audio"]: row["text"] for row in manifest(JUDGE)}
        lengths = list(short_clips().items())[:clips]
        return [Recording(path, texts[path], seconds) for path, seconds in lengths]
    return list(middle(folder))[:clips]


def middle(folder: Path) -> Iterator[Recording]:
    """Cut a reading between its words, into pieces as long as a window nearly is."""
    one = next(one for one in timed() if one.case.name == "slow")
    begin = number = 0
    while begin < len(one.words):
        start = one.words[begin].start
        end = next(
            (n for n in range(begin, len(one.words)) if one.words[n].end > start + MIDDLE_SECONDS),
            None,
        )
        if end is None:
            return
        words, stop = one.words[begin:end], one.words[end - 1].end
        path = as_opus(folder / f"middle-{number}.ogg", [piece(one.case.samples, start, stop)])
        yield Recording(path, " ".join(word.text for word in words), stop - start)
        begin, number = end, number + 1


def piece(samples: Any, start: float, stop: float) -> Any:
    """Cut samples out, with a tenth of a second around them."""
    return samples[max(0, int(16_000 * (start - 0.1))) : int(16_000 * (stop + 0.1))]


def word_errors(peer: Peer, sort: str, clips: Sequence[Recording]) -> float:
    """Ask for each clip once, which warms the peer too, and return its word error rate."""
    pairs = [Pair("en", clip.text, text_of(peer, sort, clip)) for clip in clips]
    return rate(count(pairs, "wer")).value


def text_of(peer: Peer, sort: str, clip: Recording) -> str:
    with clip.path.open("rb") as file:
        answer = httpx.post(
            f"http://127.0.0.1:{peer.port}/v1/audio/transcriptions",
            data=peer.asked(sort),
            files={"file": (clip.path.name, file)},
            timeout=PATIENCE,
        )
    text: str = answer.raise_for_status().json()["text"]
    return text


def in_turn(
    peers: Sequence[Peer],
    sort: str,
    clips: Sequence[Recording],
    load: tuple[int, int],
    rounds: int,
) -> dict[str, list[Round]]:
    """Ask everybody in every round; who is first changes. The first round warms."""
    told: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        first = number % len(peers)
        for peer in (*peers[first:], *peers[:first]):
            one = asyncio.run(asked_for(peer, sort, clips, *load))
            if number:
                told[peer.name].append(one)
    return told


async def asked_for(
    peer: Peer, sort: str, clips: Sequence[Recording], at_once: int, requests: int
) -> Round:
    """Have so many requests answered, so many at once: each client asks again when it is
    answered."""
    before = peer.processor_seconds()
    paths = [clip.path for clip in clips]
    pace, times = await load_service(peer, paths, at_once, requests, peer.asked(sort))
    took = requests / pace
    seconds = sum(clips[n % len(clips)].seconds for n in range(requests))
    return Round(seconds / took, times, (peer.processor_seconds() - before) / seconds)


def rows(
    told: Mapping[str, Sequence[Round]], what: str, errors: Mapping[str, float]
) -> Iterator[list[str]]:
    default = told[DEFAULT]
    for name, several in told.items():
        times = sorted(one for each in several for one in each.times)
        ratio = median_interval(
            [mine.rtfx / its.rtfx for mine, its in zip(default, several, strict=True)]
        )
        yield [
            what,
            name,
            f"{statistics.median(one.rtfx for one in several):.1f}",
            "" if name == DEFAULT else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            f"{1000 * statistics.median(times):.0f}",
            f"{1000 * times[int(0.95 * len(times))]:.0f}",
            f"{statistics.median(one.processors for one in several):.3f}",
            f"{100 * errors[name]:.1f} %",
        ]
        what = ""


def memory(peer: Peer) -> int:
    """Return a server's PSS in bytes."""
    return proportional_size(family(peer.pid))


def tables(peers: int) -> Table:
    columns = ("", "", "RTFx", "ours / it", "p50 ms", "p95 ms", "processor s / s", "WER")
    return Table(*columns, title=f"{peers} servers in turn, {psutil.cpu_count()} processors")


if __name__ == "__main__":
    main()
