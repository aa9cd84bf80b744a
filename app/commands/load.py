"""Requests for transcripts as load on a server: who asks when, and what becomes of each request."""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from app import client

_FAULTS = (OSError, client.Refused, httpx.HTTPError, TypeError, ValueError)
_PAUSE = 1.0  # seconds before a client asks again that got no answer


@dataclass(frozen=True)
class Recording:
    """A recording to be sent. seconds: of sound. text: what is said in it, "" where nobody knows;
    language: the text's, an ISO code."""

    path: Path
    seconds: float
    text: str = ""
    language: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of a request. due, ended: by time.perf_counter(), the answer's last byte being
    the end. first_text: seconds until a stream's first text. code, why: of what has no transcript,
    else "". pause: seconds that its client then waits."""

    recording: Recording
    due: float
    ended: float
    first_text: float | None = None
    text: str = ""
    code: str = ""
    why: str = ""
    pause: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.due


@dataclass(frozen=True)
class Bound:
    """How long a load lasts: so many requests, or until so many seconds are over, when what is
    under way is waited for. One request is always made."""

    requests: int | None = None
    seconds: float = math.inf

    def turns(self, recordings: Sequence[Recording]) -> Iterator[Recording]:
        """Yield a recording for each request, all in turn."""
        ends = time.perf_counter() + self.seconds
        for number, recording in enumerate(itertools.cycle(recordings)):
            if number == self.requests or (number and time.perf_counter() >= ends):
                return
            yield recording


@dataclass(frozen=True)
class Load:
    """Answers to a load, one at least."""

    answers: tuple[Answer, ...]

    @property
    def took(self) -> float:
        """Seconds from the first request to the last answer."""
        return max(one.ended for one in self.answers) - min(one.due for one in self.answers)

    @property
    def good(self) -> list[Answer]:
        """The answers that are transcripts."""
        return [one for one in self.answers if not one.code]

    @property
    def errors(self) -> Counter[str]:
        """How many have none, by code."""
        return Counter(one.code for one in self.answers if one.code)

    @property
    def rtfx(self) -> float:
        """Seconds of sound a second, of all transcripts together."""
        return sum(one.recording.seconds for one in self.good) / self.took

    def latency(self, share: float) -> float | None:
        """Return a quantile of the seconds to whole transcripts."""
        return _quantile([one.seconds for one in self.good], share)

    def first_text(self, share: float) -> float | None:
        """Return a quantile of the seconds to first texts."""
        times = [one.first_text for one in self.good if one.first_text is not None]
        return _quantile(times, share)


def _quantile(times: Sequence[float], share: float) -> float | None:
    """Return the time that this share of them is below; None where there are none."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else None


class Asker:
    """Asks a server for transcripts. fields: what each request says."""

    def __init__(self, server: httpx.AsyncClient, fields: Mapping[str, Any]) -> None:
        self._server, self._fields = server, fields

    async def closed(self, recordings: Sequence[Recording], at_once: int, bound: Bound) -> Load:
        """Have so many clients ask, each again when it is answered. One that is refused waits as
        long as it is told to."""
        turns, answers = bound.turns(recordings), []

        async def ask_again_and_again() -> None:
            for recording in turns:
                answers.append(await self._ask(recording, time.perf_counter()))
                await asyncio.sleep(min(answers[-1].pause, bound.seconds))

        await asyncio.gather(*(ask_again_and_again() for _ in range(at_once)))
        return Load(tuple(answers))

    async def open(self, recordings: Sequence[Recording], rate: float, bound: Bound) -> Load:
        """Have `rate` requests a second arrive, whatever becomes of those before: a Poisson process
        that is the same each time."""
        chance, due = Random(0), time.perf_counter()  # noqa: S311  no secret
        asked = []
        for recording in bound.turns(recordings):
            asked.append(asyncio.create_task(self._ask(recording, due)))
            due += chance.expovariate(rate)
            await asyncio.sleep(due - time.perf_counter())
        return Load(tuple(await asyncio.gather(*asked)))

    async def _ask(self, recording: Recording, due: float) -> Answer:
        try:
            return await self._transcribed(recording, due)
        except _FAULTS as error:
            why = client.explained(error, str(self._server.base_url).rstrip("/"))
            told: dict[str, Any] = {"code": _code(error), "why": why, "pause": _pause_after(error)}
            return Answer(recording, due, time.perf_counter(), **told)

    async def _transcribed(self, recording: Recording, due: float) -> Answer:
        """Ask once. Raises as client.events does, and Refused where it tells no text."""
        first_text, text = None, None
        async with aclosing(client.events(self._server, recording.path, self._fields)) as events:
            async for event in events:
                if event.get("type") == client.DELTA and first_text is None:
                    first_text = time.perf_counter() - due
                elif event.get("type") == client.DONE:
                    text = event.get("text")
        if not isinstance(text, str):
            raise client.Refused(client.BROKEN_OFF, code="broken_off")
        return Answer(recording, due, time.perf_counter(), first_text, text)


def _code(error: Exception) -> str:
    """Return what errors of this kind are counted under: the server's code, else HTTP's status."""
    if isinstance(error, client.Refused):
        return str(error.code or error.status or "in_stream")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "unreachable"
    if isinstance(error, httpx.TimeoutException):
        return "silent"
    return "broken_off" if isinstance(error, httpx.HTTPError) else "no_transcript"


def _pause_after(error: Exception) -> float:
    if isinstance(error, client.Refused):
        return error.retry_after or 0.0
    return _PAUSE
