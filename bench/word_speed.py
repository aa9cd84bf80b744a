"""What the times of words cost, for who asks for them and for who streams beside.

One server is asked with words and without, in turn, for clips of five seconds of English; then some
clients stream other clips while some ask for these, again with words and without.
"""

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from app.audio.waveform import SAMPLE_RATE
from bench.http import load_service
from bench.interval import median_interval
from bench.talk import as_opus
from bench.word_recordings import Timed, timed
from harness.server import Server

CLIPS, CLIP_SECONDS = 16, 5.0
STREAMS, STREAM_SECONDS = 4, 25.0  # clients that stream, and how long each clip is: a window
ASKERS = 4  # clients beside them
REQUESTS = {1: 4, 16: 16}  # of a round, by how many are under way at once
PATIENCE = 600  # seconds without an answer
_PLAIN = {"language": "en", "response_format": "verbose_json"}
_WORDS = {**_PLAIN, "timestamp_granularities[]": "word"}
_TOKENS = "marlinscribe_inter_token_latency_seconds"

Samples = list[float]  # seconds


class Speed(NamedTuple):
    """A figure with words, one without, in milliseconds, and their ratio with its bounds."""

    name: str
    words_ms: float
    plain_ms: float
    ratio: float
    low: float
    high: float
    made_of: str


class Beside(NamedTuple):
    """What was seen while others were asked: seconds between two deltas of a stream, and between
    two tokens of a window, of all windows: the buckets of its histogram, by their upper bounds."""

    deltas: Samples
    tokens: dict[float, float]


def speeds(settings: Mapping[str, Any], rounds: int) -> list[Speed]:
    """Measure and print what words cost. There is nothing where they are refused."""
    with tempfile.TemporaryDirectory() as folder, Server(**settings) as server:
        level, slow = (_recording(name) for name in ("level", "slow"))
        clips = list(cut(level, CLIP_SECONDS, CLIPS, Path(folder)))
        answer = server.transcribe(clips[0], **_WORDS)
        if answer.status_code == httpx.codes.BAD_REQUEST:
            print(f"marlinscribe has no words: {answer.text[:300]}", file=sys.stderr)
            return []
        told = [latency(server, clips, at_once, rounds) for at_once in REQUESTS]
        streamed = list(cut(slow, STREAM_SECONDS, STREAMS, Path(folder)))
        told += beside(server, clips, streamed, rounds)
    report(told)
    return told


def _recording(name: str) -> Timed:
    return next(one for one in timed() if one.case.name == name)


def cut(one: Timed, seconds: float, many: int, folder: Path) -> Iterator[Path]:
    """Write the first so many stretches of a recording to files of their own."""
    size = int(seconds * SAMPLE_RATE)
    for number in range(many):
        piece = one.case.samples[number * size : (number + 1) * size]
        yield as_opus(folder / f"{one.case.name}-{number}.ogg", [piece])


def in_turn(rounds: int) -> Iterator[tuple[int, bool]]:
    """Yield for each round with words and without; which is first changes. Round 0 warms."""
    for number in range(rounds + 1):
        for words in (True, False) if number % 2 else (False, True):
            yield number, words


def latency(server: Server, clips: Sequence[Path], at_once: int, rounds: int) -> Speed:
    """Ask for the clips, so many at once."""
    took: dict[bool, list[Samples]] = {True: [], False: []}
    for number, words in in_turn(rounds):
        fields = _WORDS if words else _PLAIN
        ask = load_service(server, list(clips), at_once, REQUESTS[at_once], fields)
        _, times = asyncio.run(ask)
        if number:
            took[words].append(times)
    ratios = [
        statistics.median(one) / statistics.median(other)
        for one, other in zip(took[True], took[False], strict=True)
    ]
    p50 = {
        words: 1000 * statistics.median(itertools.chain(*times)) for words, times in took.items()
    }
    made_of = f"p50; {rounds} rounds of {REQUESTS[at_once]} requests each, in turn"
    return Speed(
        f"5 s clip, {at_once} at once", p50[True], p50[False], *median_interval(ratios), made_of
    )


def beside(
    server: Server, clips: Sequence[Path], streamed: Sequence[Path], rounds: int
) -> Iterator[Speed]:
    """Stream while others ask."""
    seen: dict[bool, list[Beside]] = {True: [], False: []}
    for number, words in in_turn(rounds):
        one = asyncio.run(_round(server, clips, streamed, _WORDS if words else _PLAIN))
        if number:
            seen[words].append(one)
    made_of = f"p99; {rounds} rounds in turn, {STREAMS} streams, {ASKERS} clients beside them"
    for name, figure in (
        ("between deltas of a stream", _deltas),
        ("between tokens, of all", _tokens),
    ):
        ratios = [figure([a]) / figure([b]) for a, b in zip(seen[True], seen[False], strict=True)]
        with_words, without = (1000 * figure(seen[which]) for which in (True, False))
        yield Speed(name, with_words, without, *median_interval(ratios), made_of)


def _deltas(several: Sequence[Beside]) -> float:
    gaps = [gap for one in several for gap in one.deltas]
    return float(np.quantile(gaps, 0.99)) if gaps else float("nan")


def _tokens(several: Sequence[Beside]) -> float:
    bounds = several[0].tokens
    return quantile({bound: sum(one.tokens[bound] for one in several) for bound in bounds}, 0.99)


async def _round(
    server: Server, clips: Sequence[Path], streamed: Sequence[Path], fields: Mapping[str, str]
) -> Beside:
    """Stream each of these once, while clients ask for the clips again and again."""
    before = token_buckets(server)
    async with _clients(server) as ask, _asking(ask, clips, fields):
        several = await asyncio.gather(*(_stream(ask, path) for path in streamed))
    after = token_buckets(server)
    tokens = {bound: after[bound] - before.get(bound, 0) for bound in after}
    return Beside([gap for gaps in several for gap in gaps], tokens)


Ask = Callable[[Path, Mapping[str, str]], Any]


@asynccontextmanager
async def _clients(server: Server) -> AsyncIterator[Ask]:
    url = f"{server.url}/v1/audio/transcriptions"
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        yield lambda path, fields: client.stream(
            "POST", url, data=dict(fields), files={"file": (path.name, path.read_bytes())}
        )


@asynccontextmanager
async def _asking(
    ask: Ask, clips: Sequence[Path], fields: Mapping[str, str]
) -> AsyncIterator[None]:
    """Have clients ask for the clips while the block runs; each then ends the request it is at."""
    turn, over = itertools.cycle(clips), asyncio.Event()

    async def one() -> None:
        while not over.is_set():
            async with ask(next(turn), fields) as answer:
                await answer.aread()
                answer.raise_for_status()

    async with asyncio.TaskGroup() as group:
        for _ in range(ASKERS):
            group.create_task(one())
        try:
            yield
        finally:
            over.set()


async def _stream(ask: Ask, path: Path) -> Samples:
    """Return the seconds between the deltas of a streamed answer."""
    moments = []
    async with ask(path, {"language": "en", "stream": "true"}) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if "transcript.text.delta" in line:
                moments.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(moments)]


def token_buckets(server: Server) -> dict[float, float]:
    """Return how many times between tokens were at most so many seconds, by these."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    return {
        float(sample.labels["le"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"{_TOKENS}_bucket"
    }


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """Return a quantile by a histogram's counts, as Prometheus' histogram_quantile does: between a
    bucket's bounds all are as likely; what is in the last one is as long as its lower bound."""
    below, lower = 0.0, 0.0
    wanted = share * max(buckets.values())
    for bound, count in sorted(buckets.items()):
        if count >= wanted and count > below:
            inside = (wanted - below) / (count - below)
            return lower if bound == float("inf") else lower + inside * (bound - lower)
        below, lower = count, bound
    return float("nan")


def report(several: Sequence[Speed]) -> None:
    table = Table("", "with words, ms", "without", "ratio", "made of", title="what words cost")
    for one in several:
        ratio = f"{one.ratio:.3f} ({one.low:.3f} to {one.high:.3f})"
        table.add_row(one.name, f"{one.words_ms:.1f}", f"{one.plain_ms:.1f}", ratio, one.made_of)
    Console(width=160).print(table)
