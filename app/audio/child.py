"""The server's side of one process that decodes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.audio.recording import Selection
from app.audio.worker import READY
from app.process import in_daemon_thread

_MODULE = "app.audio.worker"
_ROOT = Path(__file__).resolve().parents[2]  # where `app` is
_INHERITED = ("PATH", "LD_LIBRARY_PATH")  # no keys, nor what else is in the server's environment
# One thread does all of it: others, and their heaps, would only take addresses. What one recording
# frees is kept for the next, up to 64 MiB (glibc's default is to give back and fetch each block).
_ALLOCATION = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}
_LAST_SECONDS = 1.0
_LARGEST_ANSWER = 2**16  # bytes


class ChildGone(Exception):
    """It ended before it was asked anything."""


class ChildFailed(Exception):
    """It does not get ready."""


@dataclass(frozen=True)
class Death:
    """How it ended while it decoded: its exit status, or minus a signal's number. killed: whether
    this server killed it."""

    status: int
    killed: bool = False

    @property
    def by_processor_time(self) -> bool:
        return self.status == -signal.SIGXCPU

    @property
    def from_outside(self) -> bool:
        """Whether somebody else killed it: the kernel, where memory is short, or an operator. No
        recording does: its limits end in SIGXCPU or MemoryError."""
        return self.status == -signal.SIGKILL and not self.killed

    def __str__(self) -> str:
        if self.status >= 0:
            return f"with status {self.status}"
        return f"by {signal.Signals(-self.status).name}"


class Child:
    """Starts when it is made, and gets ready by itself."""

    def __init__(self) -> None:
        """Raises OSError. The process lives no longer than the thread it is started from."""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        self._is_ready = False
        self._killed = False
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,  # ^C in the server's terminal is the server's
                )
            except OSError:
                self._line.close()
                raise

    @property
    def pid(self) -> int:
        return self._process.pid

    async def decode(
        self, recording: int, room: int, max_seconds: float, selection: Selection
    ) -> dict[str, Any] | Death:
        """Its answer: see worker.py. Raises ChildGone, ChildFailed. One recording at a time; where
        this is cancelled the child is of no more use."""
        await self._ready()
        asked = json.dumps({"max_seconds": max_seconds} | asdict(selection)).encode()
        try:
            socket.send_fds(self._line, [asked], [recording, room])
            answer = await self._heard()
        except (BrokenPipeError, ConnectionResetError) as error:  # what was asked was not read
            raise ChildGone from error
        if not answer:
            return Death(await self._end(), self._killed)
        told: dict[str, Any] = json.loads(answer)
        return told

    async def _ready(self) -> None:
        if not self._is_ready:
            if await self._heard() != READY:
                raise ChildFailed(f"A decoder ended {Death(await self._end())} at its start.")
            self._is_ready = True

    async def _heard(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._line, _LARGEST_ANSWER)

    async def _end(self) -> int:
        """Its status, once it has hung up."""
        return await in_daemon_thread(self.end)

    def kill(self) -> None:
        """From another thread, too."""
        self._killed = True
        self._process.kill()

    def end(self) -> int:
        """Its status, once it is over; it is killed unless it is about to be. Blocking, for as long
        as the kernel takes to give its memory back."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_LAST_SECONDS)
        self.kill()
        return self._process.wait()

    def hang_up(self) -> None:
        self._line.close()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | _ALLOCATION | {"PYTHONPATH": str(_ROOT)}
