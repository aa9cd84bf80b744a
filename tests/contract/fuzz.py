"""Ten thousand damaged requests through a real server: none may hurt it.

    python -m tests.contract.fuzz [--uploads N] [--seed N]

Speech of at most 2 s in a dozen containers is cut, flipped, spliced and lied about; forms get
fields, spellings and values from everywhere, and some bodies are damaged as bodies. Some come as
JSON, some as other servers' clients send them, and three in ten ask for jobs, files and batches:
what there is of them, what there is not, recordings and webhooks at addresses of every kind. Every
answer must be a whole one: a transcript, a job, a list, or an error below 500 in the envelope. Ends
with status 1 where one is not, where a job or a batch does not end, where the log has a traceback,
where the server is not healthy afterwards, or where its memory grew beyond the bound.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from harness.server import DEMO, Server
from tests.background.receiver import receiving
from tests.contract.answers import Tally, fault_of
from tests.contract.damaged import Asked, damaged, request_of, seeds
from tests.contract.damaged_jobs import BATCHES, FILES, SPEECH, Known, job_request, story

AT_ONCE = 8
OF_JOBS = 0.3  # of the requests
SLOWEST_SECONDS = 60
SETTLED = 1000  # uploads until pools and caches are filled; memory is compared from here on
# Bytes, server and engine together. Freed memory is kept for the next request: up to 64 MB by
# app.process.keep_freed_memory.
MOST_GROWTH = 300e6
ENGINE_SHARE = 0.05  # of the uploads, at least, must be whole enough to reach the engine
ENDS = {"completed", "failed", "cancelled", "expired"}
LONGEST_WAIT = 300  # seconds, for jobs that are not over when all is sent
SETTINGS: dict[str, Any] = {
    "webhook_secret": "whsec_bWFyaW5lIHJhZGlvIGlzIGEgc2VjcmV0",
    "allow_private_addresses": True,  # for addresses of this machine to be reached at all
    "fetch_urls": True,
    "fetch_seconds": 3,
}


async def send_all(url: str, uploads: int, seed: int, tally: Tally, pid: int, known: Known) -> None:
    originals, numbers = seeds(), iter(range(uploads))

    async def sender(client: httpx.AsyncClient) -> None:
        for number in numbers:
            # Made again alone by its number, but for the ids that the server gave out before.
            choose = random.Random(seed * uploads + number)
            content = damaged(choose, choose.choice(originals), originals)
            is_of_jobs = choose.random() < OF_JOBS
            asked = (
                job_request(choose, content, known) if is_of_jobs else request_of(choose, content)
            )
            started = time.monotonic()
            fault = await send(client, url, asked, tally, known)
            seconds = time.monotonic() - started
            tally.slowest = max(tally.slowest, seconds)
            if seconds > SLOWEST_SECONDS:
                fault = fault or f"answered after {seconds:.0f} s"
            if fault:
                tally.faults.append(f"upload {number}, {asked.method} {asked.path[:99]}: {fault}")
            if number % SETTLED == 0:
                tally.memory.append((number, held := memory(pid)))
                told = f"{number} uploads, {len(tally.faults)} faults, {held / 1e6:.0f} MB"
                print(told, file=sys.stderr, flush=True)

    async with httpx.AsyncClient(timeout=SLOWEST_SECONDS) as client:
        await asyncio.gather(*(sender(client) for _ in range(AT_ONCE)))
    tally.memory.append((uploads, memory(pid)))


async def send(
    client: httpx.AsyncClient, url: str, asked: Asked, tally: Tally, known: Known
) -> str:
    """What is wrong with the answer; ids in it are known from then on."""
    headers = {"content-type": asked.kind} if asked.kind else {}
    try:
        answer = await client.request(
            asked.method, url + asked.path, content=asked.content, headers=headers
        )
    except httpx.HTTPError as error:
        return repr(error)
    fault = fault_of(answer, tally)
    if not fault and asked.method == "POST" and answer.is_success:
        path = asked.path if asked.path in (FILES, BATCHES) else SPEECH
        told = answer.json() if "json" in answer.headers["content-type"] else {}
        if "id" in told and "object" in told:
            known.ids[path].append(told["id"])
    return fault


def waited(url: str) -> list[str]:
    """What is wrong with jobs and batches once all of them should be over."""
    deadline = time.monotonic() + LONGEST_WAIT
    while left := [one for path in (SPEECH, BATCHES) for one in unfinished(url, path)]:
        if time.monotonic() > deadline:
            return [f"never over: {one}" for one in left]
        time.sleep(1)
    return []


def unfinished(url: str, path: str) -> list[str]:
    """What is not over of a list's records, all pages of it."""
    found, after = [], ""
    while True:
        page = httpx.get(f"{url}{path}?limit=100{after}", timeout=SLOWEST_SECONDS).json()
        found += [f"{one['id']} {one['status']}" for one in page["data"]]
        if not page["has_more"]:
            return [one for one in found if one.split()[1] not in ENDS]
        after = f"&after={page['last_id']}"


def told_story(url: str, recording: bytes) -> list[str]:
    """What is wrong with a batch of bad lines among which one is good."""
    content, codes = story(recording)
    files = {"file": ("in.jsonl", content)}
    file = httpx.post(url + FILES, files=files, data={"purpose": "batch"}, timeout=120).json()
    order = {"input_file_id": file["id"], "endpoint": SPEECH}
    batch = httpx.post(url + BATCHES, json=order, timeout=60).json()
    faults = waited(url)
    batch = httpx.get(f"{url}{BATCHES}/{batch['id']}", timeout=60).json()
    good, bad = (results(url, batch[f"{kind}_file_id"]) for kind in ("output", "error"))
    if [one["custom_id"] for one in good] != ["good"]:
        faults.append(f"a batch with one good line: {batch}")
    if {one["custom_id"]: one["error"]["code"] for one in bad} != codes:
        faults.append(f"bad lines of a batch: {[(b['custom_id'], b['error']) for b in bad]}")
    return faults


def results(url: str, file: str | None) -> list[dict[str, Any]]:
    """A file's lines; none of no file."""
    text = httpx.get(f"{url}{FILES}/{file}/content", timeout=60).text if file else ""
    return [json.loads(line) for line in text.splitlines()]


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
    with (
        tempfile.TemporaryDirectory() as cache,
        Server(cache_dir=cache, **SETTINGS) as server,
        receiving() as (receiver, hook),
        receiving() as (silent, hang),
    ):
        receiver.content, silent.hangs = seeds()[-1], threading.Event()
        sent = send_all(
            server.url, asked.uploads, asked.seed, tally, server.process.pid, Known(hook, hang)
        )
        asyncio.run(sent)
        seconds = time.monotonic() - started
        tally.faults += afterwards(server)
        tally.answers["requests that the server made"] = len(receiver.got)
    settled = next(held for number, held in tally.memory if number >= min(SETTLED, asked.uploads))
    growth = tally.memory[-1][1] - settled
    if growth > MOST_GROWTH:
        tally.faults.append(f"memory grew by {growth / 1e6:.0f} MB")
    if tally.transcripts < ENGINE_SHARE * asked.uploads:
        tally.faults.append("too few uploads reached the engine")
    report(tally, asked.uploads, seconds, growth)
    return bool(tally.faults)


def afterwards(server: Server) -> list[str]:
    """What is wrong with a server once all is sent."""
    mayday = Path(DEMO / "recordings" / "radio.mp3")
    faults = waited(server.url) or told_story(server.url, mayday.read_bytes())
    if server.health().get("status") != "ready" or not server.transcribe(mayday).is_success:
        faults.append("the server is not healthy afterwards")
    before, traceback, rest = server.read_log().partition("Traceback")
    if traceback:
        faults.append(f"the log has a traceback: {before[-300:]}{traceback}{rest[:3000]}")
    return faults


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
