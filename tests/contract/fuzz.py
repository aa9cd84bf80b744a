"""Ten thousand damaged uploads through a real server: none may hurt it.

    python -m tests.contract.fuzz [--uploads N] [--seed N]

Speech of at most 2 s in a dozen containers is cut, flipped, spliced and lied about; forms get
fields, spellings and values from everywhere, and some bodies are damaged as bodies. Some come as
JSON, some as other servers' clients send them, some are kept as jobs. Every answer must be a whole
one: a transcript, a job, or an error below 500 in the envelope. Ends with status 1 where
one is not, where the server is not healthy afterwards, or where its memory grew beyond the bound.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from harness.server import DEMO, Server
from tests.contract.damaged import damaged, request_of, seeds

AT_ONCE = 8
SLOWEST_SECONDS = 60
SETTLED = 1000  # uploads until pools and caches are filled; memory is compared from here on
# Bytes, server and engine together. Freed memory is kept for the next request: up to 256 MB by
# app.process.keep_freed_memory.
MOST_GROWTH = 300e6
ENGINE_SHARE = 0.05  # of the uploads, at least, must be whole enough to reach the engine


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    transcripts: int = 0
    slowest: float = 0.0
    memory: list[tuple[int, float]] = field(default_factory=list)


def fault_of(answer: httpx.Response, tally: Tally) -> str:
    """What is wrong with an answer, "" where nothing is; counts it."""
    if answer.status_code >= 400:
        try:
            error = answer.json()["error"]
            tally.answers[f"{answer.status_code} {error['code']}"] += 1
            whole = set(error) == {"message", "type", "param", "code"} and error["message"]
        except (ValueError, LookupError, TypeError):
            return f"{answer.status_code} outside the envelope: {answer.text[:300]}"
        if answer.status_code >= 500 or not whole or "Traceback" in answer.text:
            return f"{answer.status_code}: {answer.text[:300]}"
        return ""
    kind = answer.headers.get("content-type", "").split(";")[0]
    tally.answers[f"{answer.status_code} {kind}"] += 1
    tally.transcripts += 1
    try:
        if answer.status_code == 202:
            assert answer.json()["object"] == "transcription.job", "no job"
        elif kind == "application/json":
            answer.json()["text"]
        elif kind == "text/event-stream":
            data = re.findall(r"^data: (.*)$", answer.text, re.MULTILINE)
            assert data[-1] == "[DONE]", "a stream without its end"
            assert "text" in json.loads(data[-2]), "a stream without its text"
        elif kind == "text/vtt":
            assert answer.text.startswith("WEBVTT\n\n"), "no WebVTT"
        else:
            assert kind == "text/plain", "another kind of body"
    except (ValueError, LookupError, AssertionError) as error:
        return f"200, but {error!r}: {answer.text[:300]}"
    return ""


async def send_all(url: str, uploads: int, seed: int, tally: Tally, pid: int) -> None:
    originals, numbers = seeds(), iter(range(uploads))

    async def sender(client: httpx.AsyncClient) -> None:
        for number in numbers:
            choose = random.Random(seed * uploads + number)  # one upload can be made again alone
            content = damaged(choose, choose.choice(originals), originals)
            path, whole, kind = request_of(choose, content)
            started = time.monotonic()
            try:
                answer = await client.post(
                    f"{url}{path}",
                    content=whole,
                    headers={"content-type": kind},
                )
                fault = fault_of(answer, tally)
            except httpx.HTTPError as error:
                fault = repr(error)
            seconds = time.monotonic() - started
            tally.slowest = max(tally.slowest, seconds)
            if seconds > SLOWEST_SECONDS:
                fault = fault or f"answered after {seconds:.0f} s"
            if fault:
                tally.faults.append(f"upload {number}: {fault}")
            if number % SETTLED == 0:
                tally.memory.append((number, held := memory(pid)))
                told = f"{number} uploads, {len(tally.faults)} faults, {held / 1e6:.0f} MB"
                print(told, file=sys.stderr, flush=True)

    async with httpx.AsyncClient(timeout=SLOWEST_SECONDS) as client:
        await asyncio.gather(*(sender(client) for _ in range(AT_ONCE)))
    tally.memory.append((uploads, memory(pid)))


def memory(pid: int) -> float:
    """Bytes held by a process and its children, shared pages counted once."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tally, started = Tally(), time.monotonic()
    mayday = Path(DEMO / "recordings" / "radio.mp3")
    with tempfile.TemporaryDirectory() as cache, Server(cache_dir=cache) as server:
        asyncio.run(send_all(server.url, asked.uploads, asked.seed, tally, server.process.pid))
        seconds = time.monotonic() - started
        if server.health().get("status") != "ready" or not server.transcribe(mayday).is_success:
            tally.faults.append("the server is not healthy afterwards")
    settled = next(held for number, held in tally.memory if number >= min(SETTLED, asked.uploads))
    growth = tally.memory[-1][1] - settled
    if growth > MOST_GROWTH:
        tally.faults.append(f"memory grew by {growth / 1e6:.0f} MB")
    if tally.transcripts < ENGINE_SHARE * asked.uploads:
        tally.faults.append("too few uploads reached the engine")
    report(tally, asked.uploads, seconds, growth)
    return bool(tally.faults)


def report(tally: Tally, uploads: int, seconds: float, growth: float) -> None:
    table = Table(title=f"{uploads} uploads in {seconds / 60:.1f} minutes")
    table.add_column("answer")
    table.add_column("", justify="right")
    for answer, count in sorted(tally.answers.items()):
        table.add_row(answer, str(count))
    table.add_section()
    table.add_row("through the engine", str(tally.transcripts))
    table.add_row("slowest answer, s", f"{tally.slowest:.1f}")
    table.add_row("memory at the end, MB", f"{tally.memory[-1][1] / 1e6:.0f}")
    table.add_row(f"its growth since upload {SETTLED}, MB", f"{growth / 1e6:+.0f}")
    table.add_row("faults", str(len(tally.faults)))
    Console().print(table)
    for fault in tally.faults[:50]:
        print(fault)


if __name__ == "__main__":
    raise SystemExit(main())
