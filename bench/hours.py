"""What voice detection and long recordings cost, in time and in memory.

    make bench-hours

Two servers, one with the detector and one without, both without temperature fallback, are asked in
turn: short clips that both decode once, and an hour of which a third is speech. Then one server, as
it is by default, hears prose, two hours, and a short clip again and again: alone, and while four
other clients, each with a key of its own, have an hour transcribed, which they leave in the end.

Speech is synthetic, silence is digital (bench/talk.py). Memory is PSS of the server and of all that
it started; an upload waits in TMPDIR and is none of it.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from bench.archives import Archives, transcribe
from bench.interval import Interval, median_interval
from bench.memory import family, proportional_peak, proportional_size
from bench.options import model_settings, parser, with_model
from bench.overhead import Asked, processor_seconds
from bench.overhead import ask as load
from bench.recordings import LONG, short_clips
from bench.talk import as_opus, as_wav, now_and_then, throughout
from harness.server import Server

AT_ONCE = 4
SPOKEN, SPOKEN_OF_SPARSE = 1 / 3, 1 / 6  # of the hour, and of two hours that are sparse
HOURS_EACH = 2  # times that either of two servers hears the hour, at most
CLIPS_A_ROUND = 5  # of the clip beside recordings: 12 rounds have a 95th percentile
CLIP_SECONDS = 3.0
CLIENT, OTHERS = "client", tuple(f"other-{n}" for n in range(4))
SETTLE_SECONDS = 3  # until what a request took is given back


class Row(NamedTuple):
    name: str
    figure: str
    aim: str
    made_of: str


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.hours", __doc__, clips=16, rounds=12, hour=3600))
    wanted.add_argument("--sparse", action="store_true", help="a sixth of two hours is speech")
    wanted.add_argument("--only", choices=PARTS, help="rows of two servers, or those of one")
    asked = wanted.parse_args(argv)
    settings, rows = model_settings(asked), []
    with tempfile.TemporaryDirectory() as folder:
        made = Recordings.made(Path(folder), asked)
        for part in [PARTS[asked.only]] if asked.only else PARTS.values():
            for row in part(settings, made, asked.rounds):
                print(f"{row.name}: {row.figure} ({row.made_of})", flush=True)
                rows.append(row)
    report(rows)


class Recordings(NamedTuple):
    """clips: short ones. clip: one of them. mixed: an hour, a third of which is speech. hour, two:
    one and two hours of speech, the two of silence too where they are sparse."""

    clips: list[Path]
    clip: Path
    mixed: Path
    hour: Path
    two: Path

    @classmethod
    def made(cls, folder: Path, asked: Any) -> "Recordings":
        hour, two = asked.hour, 2 * asked.hour
        spoken = now_and_then(two, SPOKEN_OF_SPARSE) if asked.sparse else throughout(two)
        clips = short_clips()
        return cls(
            list(clips)[: asked.clips],
            min(clips, key=lambda clip: abs(clips[clip] - CLIP_SECONDS)),
            as_wav(folder / "mixed.wav", now_and_then(hour, SPOKEN)),
            as_opus(folder / "hour.ogg", throughout(hour)),
            as_opus(folder / "two.ogg", spoken),
        )


def of_two_servers(settings: dict[str, Any], made: Recordings, rounds: int) -> Iterator[Row]:
    cold = settings | {"temperature_fallback": False}
    with Server(**cold, vad=True) as detecting, Server(**cold, vad=False) as plain:
        yield from detector(detecting, plain, made.clips, rounds)
        yield speech_in_silence(detecting, plain, made.mixed, min(rounds, HOURS_EACH))


def of_one_server(settings: dict[str, Any], made: Recordings, rounds: int) -> Iterator[Row]:
    with Server(**settings, api_keys=",".join((CLIENT, *OTHERS))) as server:
        yield from decoded_again(server, LONG / "prose.ogg")
        yield memory(server, made.two)
        yield beside_hours(server, made.clip, made.hour, CLIPS_A_ROUND * rounds)


def detector(detecting: Server, plain: Server, clips: list[Path], rounds: int) -> Iterator[Row]:
    """Throughput and processor time of what both decode once."""
    kept = [
        clip
        for clip in clips
        if all(is_decoded_once(server, clip) for server in (detecting, plain))
    ]
    left_out = f"{len(clips) - len(kept)} of {len(clips)} clips left out, as decoded again"
    if not kept:
        yield Row("detector and guards, of the throughput", "-", "<= 5 %", left_out)
        return
    told = list(in_turn(detecting, plain, kept, rounds))
    rates = [statistics.median(pair[which].rate for pair in told) for which in (0, 1)]
    yield Row(
        "detector and guards, of the throughput",
        less(median_interval([one.rate / other.rate for one, other in told])),
        "<= 5 %",
        f"{rates[0]:.2f} requests/s and {rates[1]:.2f} without, {rounds} rounds, {left_out}",
    )
    yield Row(
        "the same, of the processors' time",
        less(median_interval([other.all / one.all for one, other in told])),
        "",
        "of all of a server's processes",
    )


def is_decoded_once(server: Server, clip: Path) -> bool:
    """Whether the engine hears it once, and, where the answer tells it, the ledger says so too."""
    before = engine_requests(server)
    told = transcribe(server, clip, response_format="verbose_json").get("coverage", {})
    return engine_requests(server) - before == 1 and not told.get("decoded_again")


def engine_requests(server: Server) -> float:
    """vLLM's count of what it has answered: one for each time that a window was decoded."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    return sum(
        sample.value
        for one in families
        for sample in one.samples
        if sample.name == "vllm:request_success_total"
    )


def in_turn(
    detecting: Server, plain: Server, clips: list[Path], rounds: int
) -> Iterator[tuple[Asked, Asked]]:
    """Yield what both tell of a round. The first warms."""
    for number in range(rounds + 1):
        turn = [detecting, plain] if number % 2 else [plain, detecting]
        told = {server: load(server, clips, AT_ONCE, len(clips)) for server in turn}
        if number:
            yield told[detecting], told[plain]


def less(ratio: Interval) -> str:
    """What a ratio takes away."""
    median, low, high = (100 * (1 - one) for one in ratio)
    return f"{median:.1f} % ({high:.1f} to {low:.1f})"


def speech_in_silence(detecting: Server, plain: Server, hour: Path, times: int) -> Row:
    """The language is told: silence has none, and would be asked for it again and again."""
    pairs = []
    for number in range(times):
        turn = [detecting, plain] if number % 2 else [plain, detecting]
        took = {server: seconds(server, hour, language="en") for server in turn}
        pairs.append((took[detecting], took[plain]))
    ratio = statistics.mean(one / other for one, other in pairs)
    each = ", ".join(f"{one:.1f} s and {other:.1f} s without" for one, other in pairs)
    return Row("an hour with 20 minutes of speech", f"{ratio:.2f}", "<= 0.45", each)


def seconds(server: Server, path: Path, key: str = "", **fields: str) -> float:
    started = time.perf_counter()
    transcribe(server, path, key, **fields)
    return time.perf_counter() - started


def decoded_again(server: Server, prose: Path) -> Iterator[Row]:
    _, before = processor_seconds(server)
    answer = transcribe(server, prose, CLIENT, response_format="verbose_json")
    _, after = processor_seconds(server)
    again, speech = (answer["coverage"][name] for name in ("decoded_again", "speech"))
    yield Row(
        "decoded again, of clean speech",
        f"{100 * again / speech:.1f} %",
        "<= 15 %",
        f"{again:.1f} of {speech:.1f} s",
    )
    yield Row(
        "the same recording, of the processors' time",
        f"{(after - before) / answer['duration']:.3f} s a second of sound",
        "",
        f"{after - before:.1f} s for {answer['duration']:.1f}",
    )


def memory(server: Server, hours: Path) -> Row:
    """The prose before has warmed the server: all of its slots were taken."""
    time.sleep(SETTLE_SECONDS)
    pid = server.process.pid
    idle = proportional_size(family(pid))
    with proportional_peak(pid) as peak:
        took = seconds(server, hours, CLIENT)
    return Row(
        "two hours, memory above idle",
        f"{(peak.size - idle) / 1e6:.0f} MB",
        "<= 300 MB",
        f"PSS of {idle / 1e6:.0f} MB idle and {peak.size / 1e6:.0f} at most, in {took:.0f} s",
    )


def beside_hours(server: Server, clip: Path, hour: Path, times: int) -> Row:
    alone, archives = nullcontext(), Archives(server, hour, OTHERS)
    (p50, p95), (p50_beside, p95_beside) = (
        latency(server, clip, times, meanwhile) for meanwhile in (alone, archives)
    )
    return Row(
        "3 s clip beside four one-hour recordings",
        f"{p95_beside / p95:.2f}",
        "<= 3",
        f"p50 {1000 * p50:.0f} and {1000 * p50_beside:.0f} ms, "
        f"p95 {1000 * p95:.0f} and {1000 * p95_beside:.0f}, {times} requests each, "
        f"{archives.ended} of the long ones ended meanwhile",
    )


def latency(
    server: Server, clip: Path, times: int, meanwhile: AbstractContextManager[object]
) -> tuple[float, float]:
    """Seconds: the median and the 95th percentile of one request after another."""
    with meanwhile:
        took = sorted(seconds(server, clip, CLIENT) for _ in range(times))
    return statistics.median(took), took[int(0.95 * len(took))]


PARTS = {"two": of_two_servers, "one": of_one_server}


def report(rows: list[Row]) -> None:
    table = Table("", "figure", "aim", "made of", title="what detection and long recordings cost")
    for row in rows:
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
