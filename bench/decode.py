"""Decoding in processes of their own, beside decoding in threads of the server's process.

The same clips of about 5 s are decoded both ways in turn, round by round, so that a drift of the
machine's speed hits both; which is first changes from round to round. Rates are in recordings a
second, and only their ratio is told: above 1, processes are faster.
"""

import asyncio
import io
import itertools
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table

from app.admission.requests import DECODES_AT_ONCE
from app.audio.decode import decode
from app.audio.pool import DecoderPool
from app.environment import DEMO
from app.settings import Settings
from bench import options
from bench.interval import median_interval

CLIPS, ROUNDS = 16, 60
RECORDINGS = 32  # a round
AT_ONCE = (1, 16)

Decode = Callable[[bytes], Awaitable[Any]]


def main() -> None:
    asked = options.parser("bench.decode", __doc__, clips=CLIPS, rounds=ROUNDS).parse_args()
    paths = sorted((DEMO / "recordings/test").glob("*.ogg"))[: asked.clips]
    ratios = asyncio.run(compare([path.read_bytes() for path in paths], asked.rounds))
    table = Table("at once", "median ratio", "95 % interval", title="processes / threads")
    for at_once, values in ratios.items():
        median, low, high = median_interval(values)
        table.add_row(str(at_once), f"{median:.2f}", f"{low:.2f} to {high:.2f}")
    Console().print(table)
    print(f"{asked.rounds} rounds of {RECORDINGS} recordings, {DECODES_AT_ONCE} decoders")


async def compare(clips: list[bytes], count: int) -> dict[int, list[float]]:
    """Per number of recordings at once, each round's ratio; the first rounds warm."""
    seconds = Settings().max_audio_seconds
    pool, threads = DecoderPool(DECODES_AT_ONCE), ThreadPoolExecutor(DECODES_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def in_process(clip: bytes) -> None:
        await pool.decode(io.BytesIO(clip), max_seconds=seconds)

    async def in_thread(clip: bytes) -> None:
        file = io.BytesIO(clip)
        await loop.run_in_executor(threads, lambda: decode(file, max_seconds=seconds))

    try:
        return {
            at_once: await rounds(in_process, in_thread, clips, at_once, count)
            for at_once in AT_ONCE
        }
    finally:
        pool.close()
        threads.shutdown()


async def rounds(
    one: Decode, other: Decode, clips: list[bytes], at_once: int, count: int
) -> list[float]:
    ratios = []
    for number in range(count + 2):
        turn = [one, other] if number % 2 else [other, one]
        took = {way: await load(way, clips, at_once) for way in turn}
        ratios.append(took[other] / took[one])
    return ratios[2:]


async def load(way: Decode, clips: list[bytes], at_once: int) -> float:
    """Seconds for a round's recordings."""
    asked = itertools.islice(itertools.cycle(clips), RECORDINGS)

    async def client() -> None:
        for clip in asked:
            await way(clip)

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
