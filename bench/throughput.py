"""How fast the service is beside others, on the same weights, machine and recordings.

    make bench-throughput
    python -m bench.throughput [--only short|middle|long] [--rate R...] [--own-kernels]
        [--vllm FOLDER] [--faster-whisper PYTHON --peer-model FOLDER] [--float32]
        [--whisper-cpp PYTHON --ggml FILE...] [--transformers PYTHON --weights FOLDER]

What a start makes of whisper-base, the unquantized source, and those that are named are up at once:
faster-whisper in int8 and whisper.cpp, with one worker on all processors and with a worker on each,
transformers, and vLLM's own server (--float32: in float32 too). They are asked in turn, round by
round, each once the one before is at rest, and who is first changes, so that a drift of the
machine's speed hits all. Clips are those of
a synthetic voice: short ones of the judge, middle ones of 25 seconds (each nearly a window), and
eleven minutes. The language is told, tokens are the likeliest. Of a recording of minutes
faster-whisper and transformers have windows in batches, faster-whisper behind its detector. On
AMD's processors vLLM takes zentorch's kernels, its server's too; --own-kernels asks ours without
them beside. Peers run in environments of their own, by the path of their Python; bench.ggml writes
what whisper.cpp reads.

RTFx is seconds of sound a second. `ours / it` is the ratio of the default's to it in the same
round, with 95 % intervals; the processors' time is of all of a server's processes, memory their
PSS, after all of it. WER is of one answer to each clip of the row. With --rate requests arrive as a
Poisson process, whatever became of those before, and take from when they were due; `ours / it` is
then how many times as long it took, by the median.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from app.recordings.error_rates import Pair, count, rate
from bench.arrivals import arrivals
from bench.http import load_service
from bench.interval import median_interval
from bench.memory import family, proportional_size
from bench.options import parser, with_model
from bench.peers import DEFAULT, Peer, add_peers, everybody
from bench.recordings import JUDGE, LONG, manifest, short_clips
from bench.talk import as_opus
from bench.word_recordings import timed

MIDDLE_SECONDS = 25.0
AT_ONCE = (1, 4, 16)
REQUESTS = {"short": {1: 6, 4: 16, 16: 32}, "middle": {1: 3, 4: 8, 16: 16}, "long": {1: 1}}
ARRIVALS = {"short": 32, "middle": 16, "long": 3}
PATIENCE = 600  # seconds without an answer
# Of all processors, in which idle servers stay; and how often and how long that is looked at.
REST_PERCENT, SECONDS_A_LOOK, MOST_LOOKS = 10.0, 0.5, 20


class Recording(NamedTuple):
    path: Path
    text: str
    seconds: float


class Round(NamedTuple):
    """times: seconds of each request. processors: their seconds, of a second of sound."""

    rtfx: float
    times: list[float]
    processors: float


@dataclass(frozen=True)
class Load:
    """How many requests a round has, and from how many clients; or at which rate they arrive."""

    requests: int
    at_once: int = 0
    rate: float = 0.0

    def __str__(self) -> str:
        return f"{self.rate:g} a second" if self.rate else f"{self.at_once} at once"

    def beside(self, mine: Round, its: Round) -> float:
        """Return how much faster the first was: by RTFx, and where the rate is given by the median
        time."""
        if self.rate:
            return statistics.median(its.times) / statistics.median(mine.times)
        return mine.rtfx / its.rtfx


def loads(sort: str, rates: Sequence[float] | None) -> list[Load]:
    """Return the loads of recordings of that length."""
    if rates:
        return [Load(ARRIVALS[sort], rate=rate) for rate in rates]
    return [Load(requests, at_once) for at_once, requests in REQUESTS[sort].items()]


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.throughput", __doc__, clips=16, rounds=5))
    add_peers(wanted)
    wanted.add_argument("--only", choices=REQUESTS, help="recordings of one length")
    wanted.add_argument(
        "--rate", type=float, nargs="+", help="requests a second that arrive, instead of clients"
    )
    asked = wanted.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        peers = [stack.enter_context(one) for one in everybody(asked)]
        table = tables(len(peers))
        for sort in [asked.only] if asked.only else REQUESTS:
            clips = recordings(sort, asked.clips, Path(folder))
            errors = {peer.name: word_errors(peer, sort, clips) for peer in peers}
            for load in loads(sort, asked.rate):
                told = in_turn(peers, sort, clips, load, asked.rounds)
                for row in rows(told, sort, load, errors):
                    print(*row, sep=" | ", flush=True)
                    table.add_row(*row)
                table.add_section()
        print(*(f"{peer.name}: {memory(peer) / 1e6:.0f} MB" for peer in peers), sep="; ")
    Console(width=140).print(table)


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
    load: Load,
    rounds: int,
) -> dict[str, list[Round]]:
    """Ask everybody in every round; who is first changes. The first round warms."""
    told: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        first = number % len(peers)
        for peer in (*peers[first:], *peers[:first]):
            one = asyncio.run(asked_for(peer, sort, clips, load, number))
            if number:
                told[peer.name].append(one)
    return told


async def at_rest() -> None:
    """Wait until nobody computes: a server may look for more to do for a while, which would be
    taken from the next one's turn."""
    psutil.cpu_percent()
    for _ in range(MOST_LOOKS):
        await asyncio.sleep(SECONDS_A_LOOK)
        if psutil.cpu_percent() < REST_PERCENT:
            return


async def asked_for(
    peer: Peer, sort: str, clips: Sequence[Recording], load: Load, number: int = 0
) -> Round:
    """Have a round's requests answered, once whoever was asked before is at rest. Each client asks
    again when it is answered; arrivals are those of the round's number, the same for every peer."""
    await at_rest()
    before = peer.processor_seconds()
    paths, fields = [clip.path for clip in clips], peer.asked(sort)
    if load.rate:
        pace, times = await arrivals(peer, paths, load.rate, load.requests, fields, number)
    else:
        pace, times = await load_service(peer, paths, load.at_once, load.requests, fields)
    took = load.requests / pace
    seconds = sum(clips[n % len(clips)].seconds for n in range(load.requests))
    return Round(seconds / took, times, (peer.processor_seconds() - before) / seconds)


def rows(
    told: Mapping[str, Sequence[Round]], sort: str, load: Load, errors: Mapping[str, float]
) -> Iterator[list[str]]:
    default, what = told[DEFAULT], f"{sort}, {load}"
    for name, several in told.items():
        times = sorted(one for each in several for one in each.times)
        ratio = median_interval(
            [load.beside(mine, its) for mine, its in zip(default, several, strict=True)]
        )
        yield [
            what,
            name,
            f"{statistics.median(one.rtfx for one in several):.1f}",
            "" if name == DEFAULT else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            f"{1000 * statistics.median(times):.0f}",
            *(f"{1000 * times[int(share * len(times))]:.0f}" for share in (0.95, 0.99)),
            f"{statistics.median(one.processors for one in several):.3f}",
            f"{100 * errors[name]:.1f} %",
        ]
        what = ""


def memory(peer: Peer) -> int:
    """Return a server's PSS in bytes."""
    return proportional_size(family(peer.pid))


def tables(peers: int) -> Table:
    columns = ("", "", "RTFx", "ours / it", "p50 ms", "p95 ms", "p99 ms", "processor s / s", "WER")
    return Table(*columns, title=f"{peers} servers in turn, {psutil.cpu_count()} processors")


if __name__ == "__main__":
    main()
