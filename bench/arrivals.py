"""Requests that arrive, whatever became of those before: an open loop, as people are one."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from bench.http import Listening, Times, exchange, request


async def arrivals(
    server: Listening,
    clips: Sequence[Path],
    rate: float,
    requests: int,
    fields: Mapping[str, str],
    seed: int,
) -> tuple[float, Times]:
    """Return requests a second, and the seconds of each from when it was due. Each has a connection
    of its own. What arrives when is the seed's."""
    bodies = [request(clip.read_bytes(), fields) for clip in clips]
    begun = time.perf_counter()
    asked = []
    for number, at in enumerate(moments(rate, requests, seed)):
        await asyncio.sleep(begun + at - time.perf_counter())
        asked.append(
            asyncio.create_task(_answered(server.port, bodies[number % len(bodies)], begun + at))
        )
    times = list(await asyncio.gather(*asked))
    return requests / (time.perf_counter() - begun), times


def moments(rate: float, requests: int, seed: int) -> Iterator[float]:
    """Yield when requests arrive, in seconds from the first: a Poisson process."""
    chance, at = Random(seed), 0.0
    for _ in range(requests):
        yield at
        at += chance.expovariate(rate)


async def _answered(port: int, content: bytes, due: float) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await exchange(reader, writer, content)
    finally:
        writer.close()
    return time.perf_counter() - due
