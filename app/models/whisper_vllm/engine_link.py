"""The service's end of the connection to an engine's process.

A thread sends, since a window takes longer to send than an event loop may wait; another receives,
and notices the process's end by that of the connection.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.messages import (
    Abort,
    Answer,
    Arrived,
    Call,
    Decode,
    EngineStart,
    Failed,
    Figures,
    FromEngine,
    Ready,
    Refused,
    Steps,
    Stop,
    ToEngine,
)

log = logging.getLogger(__name__)


class EngineGone(Exception):
    """The engine's process has ended, or was told to."""


class EngineLink:
    """One engine's process, as it is asked and answers.

    on_figures: called with vLLM's metrics as they come, in a thread of the link's.
    """

    def __init__(self, start: EngineStart, on_figures: Callable[[Figures], None]) -> None:
        """Start the process; `wait_ready` says whether that went well."""
        self._on_figures = on_figures
        self._connection, theirs = Pipe()
        self.process = forkserver.process(_run, theirs, start)
        self.process.start()
        theirs.close()  # so that its end is the connection's
        self.is_broken = False
        self._started: Future[None] = Future()
        self._outbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._windows: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Queue[Any]]] = {}
        self._calls: dict[int, Future[Any]] = {}
        self._ending = threading.Lock()
        self._sending = threading.Thread(target=self._send_all, daemon=True)
        self._sending.start()
        threading.Thread(target=self._receive_all, daemon=True).start()

    def wait_ready(self) -> None:
        """Wait until it takes windows. Blocking. Raises EngineGone."""
        self._started.result()

    async def decode(self, asked: Decode) -> AsyncGenerator[Arrived]:
        """Yield what comes of a window until it is closed, which aborts it. Raises EngineGone;
        RuntimeError for what vLLM does not take."""
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        self._begin(asked.number, asyncio.get_running_loop(), arrivals)
        ended = False
        try:
            self._outbox.put(asked)
            while not ended:
                arrived = await arrivals.get()
                if isinstance(arrived, Exception):
                    ended = True
                    raise arrived
                ended = arrived.step.ended is not None or arrived.given_up is not None
                yield arrived
        finally:
            self._windows.pop(asked.number, None)
            if not ended:
                self._outbox.put(Abort(asked.number))

    async def call(self, asked: Call) -> Any:
        """Return what a method of the worker returns. Raises EngineGone; RuntimeError where it
        failed."""
        answer: Future[Any] = Future()
        with self._ending:
            if self.is_broken:
                raise EngineGone
            self._calls[asked.number] = answer
        self._outbox.put(asked)
        try:
            return await asyncio.wrap_future(answer)
        finally:
            self._calls.pop(asked.number, None)

    def stop(self, seconds: float) -> None:
        """Have the process end by itself within so many seconds. Blocking."""
        self._outbox.put(Stop())
        self.process.join(seconds)

    def kill(self, seconds: float) -> None:
        """End the process at once. Blocking, until it is gone; those who wait raise EngineGone."""
        if self.process.is_alive():
            self.process.kill()  # SIGKILL: others wait until a stopped process goes on
        self.process.join(seconds)
        self._end()

    def _begin(
        self, number: int, loop: asyncio.AbstractEventLoop, arrivals: "asyncio.Queue[Any]"
    ) -> None:
        with self._ending:
            if self.is_broken:
                raise EngineGone
            self._windows[number] = loop, arrivals

    def _send_all(self) -> None:
        with suppress(OSError):  # broken: the one who receives sees it too
            while message := self._outbox.get():
                self._connection.send(message)
                del message  # a window holds all of its recording's sound, which may be hours

    def _receive_all(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._take(self._connection.recv())
        self._end()
        self._sending.join()
        self._connection.close()

    def _take(self, message: FromEngine) -> None:
        match message:
            case Steps(arrived):
                for one in arrived:
                    self._deliver(one.number, one)
            case Answer(number, value):
                self._answer(number, lambda answer: answer.set_result(value))
            case Refused(number, reason):
                self._deliver(number, RuntimeError(reason))
                self._answer(number, lambda answer: answer.set_exception(RuntimeError(reason)))
            case Figures():
                self._on_figures(message)
            case Ready():
                self._started.set_result(None)
            case Failed(reason):
                self._started.set_exception(EngineGone(reason))

    def _deliver(self, number: int, arrived: Arrived | Exception) -> None:
        if waiting := self._windows.get(number):
            loop, arrivals = waiting
            with suppress(RuntimeError):  # the loop has ended, and what waits in it
                loop.call_soon_threadsafe(arrivals.put_nowait, arrived)

    def _answer(self, number: int, answer: Callable[[Future[Any]], None]) -> None:
        waiting = self._calls.pop(number, None)
        if waiting and waiting.set_running_or_notify_cancel():
            answer(waiting)

    def _end(self) -> None:
        """Tell all who wait, once."""
        with self._ending:
            if self.is_broken:
                return
            self.is_broken = True
        self._outbox.put(None)
        if not self._started.done():
            self.process.join(1)
            status = self.process.exitcode
            self._started.set_exception(EngineGone(f"its process ended with status {status}"))
        for number in list(self._windows):
            self._deliver(number, EngineGone())
        for number in list(self._calls):
            self._answer(number, lambda answer: answer.set_exception(EngineGone()))


def _run(connection: Connection, start: EngineStart) -> None:
    from app.models.whisper_vllm.engine_process import serve  # vLLM, which the service has not

    serve(connection, start)
