"""Ten thousand damaged uploads through a real server: none may hurt it.

    python -m tests.contract.fuzz [--uploads N] [--seed N]

Speech of at most 2 s in a dozen containers is cut, flipped, spliced and lied about; forms get
fields, spellings and values from everywhere, and some bodies are damaged as bodies. Every answer
must be a whole one: a transcript, or an error below 500 in the envelope. Ends with status 1 where
one is not, where the server is not healthy afterwards, or where its memory grew beyond the bound.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE
from harness.server import DEMO, Server
from tests.audio.test_decode import PLAYLIST, SESSION
from tests.sound import encode

AT_ONCE = 8
SLOWEST_SECONDS = 60
SETTLED = 1000  # uploads until pools and caches are filled; memory is compared from here on
# Bytes, server and engine together. Freed memory is kept for the next request: up to 256 MB by
# app.process.keep_freed_memory.
MOST_GROWTH = 300e6
ENGINE_SHARE = 0.05  # of the uploads, at least, must be whole enough to reach the engine
BOUNDARY = "frontier"
KINDS = [f"multipart/form-data; boundary={BOUNDARY}"] * 95 + [
    f"multipart/form-data; boundary={BOUNDARY}; charset=undefined",
    f"multipart/form-data; boundary={BOUNDARY}; charset=utf-16",
    "multipart/form-data; boundary=another", "multipart/form-data", "application/json",
]  # fmt: skip
CONTAINERS = {
    "wav": ("wav", "pcm_s16le"), "wav mu-law": ("wav", "pcm_mulaw", 8000),
    "wav float": ("wav", "pcm_f32le", 44_100, "stereo"), "aiff": ("aiff", "pcm_s16be"),
    "mp3": ("mp3", "libmp3lame"), "flac": ("flac", "flac"), "m4a": ("ipod", "aac"),
    "adts": ("adts", "aac"), "ogg opus": ("ogg", "libopus", 48_000),
    "ogg flac": ("ogg", "flac"), "webm": ("webm", "libopus", 48_000), "mkv": ("matroska", "flac"),
    "mov": ("mov", "alac"), "amr": ("amr", "libopencore_amrnb", 8000), "au": ("au", "pcm_s16be"),
}  # fmt: skip
VALUES = {
    "model": ["whisper-1", "marine-radio", "gpt-9", "../../etc/passwd", "鷺"],
    "language": ["en", "zh", "zh-TW", "English", "fr", "klingon", "<|en|>", "e" * 5000],
    "languages[]": ["en", "zh", "xx"],
    "prompt": ["Mayday", "<|endoftext|><|zh|>", "求救" * 400, "\x00\x01", "𠮷🚢", "a" * 30_000],
    "keywords[]": ["Blue Heron", "<|0.00|>", ""],
    "response_format": ["json", "text", "srt", "vtt", "verbose_json", "xml", "diarized_json"],
    "temperature": ["0", "0.7", "1", "-1", "nan", "1e400", "warm"],
    "stream": ["true", "false", "maybe"],
    "include[]": ["logprobs", "item"],
    "timestamp_granularities[]": ["segment", "word"],
    "chunking_strategy": [
        "auto", '{"type":"server_vad","threshold":0.3}', '{"type":"', "none", '{"a":' * 50_000,
    ],
    "chunking_strategy[type]": ["server_vad"],
    "max_line_width": ["12", "0", "-3", "99999999999999999999"],
    "max_line_count": ["2", "x"],
    "seed": ["7"], "[": ["x"], "file": ["text instead of a file"],
}  # fmt: skip


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    transcripts: int = 0
    slowest: float = 0.0
    memory: list[tuple[int, float]] = field(default_factory=list)


def seeds() -> list[bytes]:
    """Two clips of speech, at most 2 s each, in every container."""
    clips = []
    for path in sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:40:20]:
        with path.open("rb") as file:
            samples = decode(file, max_seconds=60).samples
        loud = int(np.argmax(np.abs(samples) > 0.05))
        clips.append(samples[loud : loud + 2 * SAMPLE_RATE])
    lists = [SESSION.encode(), PLAYLIST.encode()]  # what would have a decoder open other things
    return lists + [encode(clip, *container) for clip in clips for container in CONTAINERS.values()]


def damaged(choose: random.Random, content: bytes, others: list[bytes]) -> bytes:
    data = bytearray(content)
    for _ in range(choose.choice([0, 0, 1, 1, 2, 3, 5, 20])):
        # Headers decide what a decoder believes: half the damage goes there.
        end = min(len(data), 128) if choose.random() < 0.5 else len(data)
        if end < 8:
            break
        at = choose.randrange(end)
        match choose.randrange(9):
            case 0:
                data[at] ^= 1 << choose.randrange(8)
            case 1:
                data[at : at + 4] = choose.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case 2:
                data[at : at + 8] = choose.randbytes(8)
            case 3:
                del data[at:]
            case 4:
                del data[at : at + choose.randrange(1, 400)]
            case 5:
                data[at:at] = choose.randbytes(choose.randrange(1, 400))
            case 6:
                data[at:at] = data[at : at + choose.randrange(1, 2000)]
            case 7:
                other = choose.choice(others)
                data[at:] = other[choose.randrange(len(other)) :]
            case 8:
                data[at : at + 64] = bytes(len(data[at : at + 64]))
    return bytes(data)


def body(choose: random.Random, content: bytes) -> bytes:
    parts = []
    for _ in range(choose.choice([0, 1, 1, 2, 3, 6])):
        name = choose.choice(list(VALUES))
        value = choose.choice(VALUES[name]).encode()
        parts.append(f'content-disposition: form-data; name="{name}"\r\n\r\n'.encode() + value)
    if choose.random() < 0.98:
        filename = choose.choice(["a.wav", "a.mp3", "鷺.ogg", "", "../../x", "a" * 300])
        kind = choose.choice(["audio/wav", "application/octet-stream", "text/html", "x"])
        head = f'content-disposition: form-data; name="file"; filename="{filename}"\r\n'
        parts.append(f"{head}content-type: {kind}\r\n\r\n".encode() + content)
        choose.shuffle(parts)
    whole = b"".join(b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    whole += b"--" + BOUNDARY.encode() + b"--\r\n"
    return damaged(choose, whole, [whole]) if choose.random() < 0.05 else whole


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
        if kind == "application/json":
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
            task = choose.choice(["transcriptions"] * 9 + ["translations"])
            started = time.monotonic()
            try:
                answer = await client.post(
                    f"{url}/v1/audio/{task}",
                    content=body(choose, content),
                    headers={"content-type": choose.choice(KINDS)},
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
    with Server() as server:
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
