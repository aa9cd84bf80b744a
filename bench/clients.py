"""Clients that keep account: what they sent, and what became of each request.

An answer is 200 with its whole text, or OpenAI's envelope, as a body or as a stream's last frame,
and with when to come again. Whatever else happens to a request (a cut connection, no answer in
time, another body, another text than what is heard undisturbed) loses it.
"""

import asyncio
import io
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from rapidfuzz.distance import Levenshtein

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE, Samples

PATIENCE = 180  # seconds; who has no answer by then is hung
_BOUNDARY = "frontier"
_SAME = 0.1  # of a text's letters may differ: what else is in the batch moves a word now and then
_ENVELOPE = {"message", "type", "param", "code"}


@dataclass
class Tally:
    """sent: requests. ok: how many came back whole. codes: of those refused or failed in the
    envelope. lost: why, of the others. done: when how many seconds of audio came back."""

    sent: int = 0
    ok: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    done: list[tuple[float, float]] = field(default_factory=list)

    def audio_a_second(self, start: float, end: float) -> float:
        """Transcribed between two moments of time.monotonic(): the slope of what had come back by
        then, since what comes in bursts falls on either side of a moment by chance."""
        when, audio = np.array(self.done).T
        inside = (when >= start) & (when < end)
        return float(np.polyfit(when[inside], np.cumsum(audio)[inside], 1)[0])


@dataclass(frozen=True)
class Recording:
    name: str
    content: bytes
    seconds: float


def recordings(folder: Path, seconds: float, many: int, *, wav: bool = False) -> list[Recording]:
    """Speech of that length from the short recordings in a folder: as Ogg Opus at 3 kB a second,
    or as wav at 96."""
    clips = itertools.cycle(sorted(folder.glob("*.ogg")))
    made = []
    for number in range(many):
        samples = _speech(clips, int(seconds * SAMPLE_RATE))
        content = _encoded(samples, *(("wav", "pcm_s16le") if wav else ("ogg", "libopus")))
        made.append(Recording(f"{seconds:g}-{number}.{'wav' if wav else 'ogg'}", content, seconds))
    return made


def _speech(clips: Iterator[Path], length: int) -> Samples:
    pieces: list[Samples] = []
    while sum(map(len, pieces)) < length:
        pieces.append(decode(io.BytesIO(next(clips).read_bytes()), max_seconds=60).samples)
    return np.concatenate(pieces)[:length]


def _encoded(samples: Samples, container: str, codec: str) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono", options={"b": "24000"})
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        resampler = av.AudioResampler(stream.format.name, "mono", 48_000, 960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return sink.getvalue()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: str
    body: str


class Clients:
    """As many as there are keys, of one server. They share its processors, so they are cheap: whole
    requests are made once, and connections are kept."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self._port = port
        self._keys = itertools.cycle(keys)
        self._streams = itertools.cycle(["false", "true"])
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._made: dict[tuple[str, str, str], bytes] = {}
        self._texts: dict[str, str] = {}

    async def learn(self, several: list[Recording]) -> Tally:
        """What is heard while nothing disturbs it: from here on, a text must be that."""
        tally = Tally()
        for recording in several:
            tally.sent += 1
            text, code = _outcome(await self._exchange(self._request(recording)))
            assert code is None, (recording.name, code)
            self._texts[recording.name] = text
            tally.ok += 1
        self._leave()
        return tally

    async def ask(self, recording: Recording, tally: Tally) -> None:
        """One request; every other one is a stream."""
        tally.sent += 1
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._exchange(self._request(recording))
            text, code = _outcome(answer)
            if code is None:
                self._compare(recording, text)
        except (OSError, EOFError, TimeoutError, ValueError, KeyError, TypeError) as error:
            tally.lost.append(f"{type(error).__name__}: {error}")
            return
        if code is None:
            tally.ok += 1
            tally.done.append((time.monotonic(), recording.seconds))
        else:
            tally.codes[code] += 1

    def once(self, recording: Recording) -> Tally:
        """For a thread of its own."""
        tally, alone = Tally(), Clients(self._port, [next(self._keys)])
        alone._texts = self._texts
        asyncio.run(alone.ask(recording, tally))
        return tally

    async def keep(
        self, many: int, several: list[Recording], until: Callable[[], bool], tally: Tally
    ) -> None:
        """So many requests under way, always: each answer is followed by another request, and a
        refusal by a moment's pause."""
        turn = itertools.cycle(several)

        async def one() -> None:
            while not until():
                ok = tally.ok
                await self.ask(next(turn), tally)
                if tally.ok == ok:
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(one() for _ in range(many)))
        self._leave()

    async def rain(
        self, rate: float, seconds: float, several: list[Recording], tally: Tally
    ) -> None:
        """`rate` new requests a second, whatever becomes of those before them; returns when all
        are answered."""
        turn, begun = itertools.cycle(several), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                group.create_task(self.ask(next(turn), tally))
        self._leave()

    def _compare(self, recording: Recording, text: str) -> None:
        """Raises ValueError where it is another text."""
        whole = self._texts.get(recording.name, text)
        if Levenshtein.normalized_distance(whole, text) > _SAME:
            raise ValueError(f"not the whole text of {recording.name}: {text[-100:]}")

    def _request(self, recording: Recording) -> bytes:
        made = recording.name, next(self._keys), next(self._streams)
        if made not in self._made:
            name, key, stream = made
            part = f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="'
            text = f'{part}stream"\r\n\r\n{stream}\r\n{part}file"; filename="{name}"\r\n\r\n'
            body = text.encode() + recording.content + f"\r\n--{_BOUNDARY}--\r\n".encode()
            head = (
                "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
                f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n"
                f"content-type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
            )
            self._made[made] = head.encode() + body
        return self._made[made]

    async def _exchange(self, request: bytes) -> Answer:
        reader, writer = await self._connection()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await _body(reader, head)
            await writer.drain()
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return Answer(int(head.split(" ", 2)[1]), head, body.decode())

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is idle, unless the server has closed it meanwhile, or else a new one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    def _leave(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "content-length: " in head:
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return await reader.readexactly(length)
    body = b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(length + 2))[:-2]
    await reader.readexactly(2)
    return body


def _outcome(answer: Answer) -> tuple[str, str | None]:
    """A whole text, or the envelope's code. Raises where it is neither."""
    body = answer.body
    if "text/event-stream" in answer.headers:
        *events, body = [
            f.removeprefix("data: ") for f in body.split("\n\n") if f.startswith("data")
        ]
        if body == "[DONE]":
            return str(json.loads(events[-1])["text"]), None
    elif answer.status == 200:
        return str(json.loads(body)["text"]), None
    error = json.loads(body)["error"]
    if set(error) != _ENVELOPE:
        raise ValueError(f"not the envelope: {body[:200]}")
    if answer.status in (429, 503) and "\r\nretry-after: " not in answer.headers:
        raise ValueError(f"no Retry-After: {body[:200]}")
    return "", f"{'stream' if answer.status == 200 else answer.status} {error['code']}"


async def beside(work: Awaitable[None], *, after: float, act: Callable[[], None]) -> None:
    """Do something in the midst of it, in a thread: it may block."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(after)
    await asyncio.to_thread(act)
    await task
