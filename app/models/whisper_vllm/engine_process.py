"""The engine's process: vLLM's engine, stepped while it has windows, behind a connection.

The main thread steps and answers. Another one hears what is asked, and computes the features of a
window while a step runs.
"""

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics
from torch import set_num_threads  # before vLLM's worker puts one there that does nothing
from vllm.utils.system_utils import decorate_logs, set_process_title
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor import Executor

from app.models.whisper_vllm.engine_arguments import engine_arguments
from app.models.whisper_vllm.messages import (
    Abort,
    Answer,
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
)
from app.models.whisper_vllm.stat_logger import stat_logger
from app.models.whisper_vllm.vllm_windows import Rendered, Windows
from app.process import give_back_freed_memory, keep_freed_memory

log = logging.getLogger(__name__)

_NAME = "EngineCore"  # vLLM's own name for the process that steps
_BETWEEN_FIGURES = 1.0  # seconds, while it steps
_UNTIL_FIGURES = 0.02  # seconds without a window, after which its last figures are told
_UNTIL_TIDY = 5.0  # seconds without one, after which freed memory is given back


class EngineProcess:
    """Decodes the windows that a connection asks for, until it is told to stop."""

    def __init__(self, connection: Connection, start: EngineStart) -> None:
        self._connection = connection
        self._registry = CollectorRegistry(auto_describe=False) if start.is_observed else None
        self._llm = start_engine(start, self._registry)
        self._windows = Windows(self._llm, start.tokens)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._figures_at = time.monotonic()
        self._has_figures = start.is_observed
        self._is_tidy = False

    def run(self) -> None:
        """Step until it is told to stop."""
        threading.Thread(target=self._hear, daemon=True).start()
        while self._take_all():
            if self._is_busy:
                self._step()

    @property
    def _is_busy(self) -> bool:
        """Whether there is anything to step for: windows, or those whose end the worker has not
        heard of."""
        core = self._llm.engine_core.engine_core
        return bool(core.scheduler.has_requests() or core.batch_queue)

    def _hear(self) -> None:
        """Receive what is asked, until the service is gone, and this process with it."""
        # Features take milliseconds. With a second team of threads OpenMP counts more of them than
        # there are processors, and from then on has the engine's sleep after every loop instead of
        # waiting for the next: a step takes a third longer.
        set_num_threads(1)
        with suppress(EOFError, OSError):
            while True:
                asked = self._connection.recv()
                self._inbox.put(self._rendered(asked) if isinstance(asked, Decode) else asked)
        os._exit(1)

    def _rendered(self, asked: Decode) -> Rendered | Refused:
        try:
            return self._windows.rendered(asked)
        except Exception as error:
            log.exception("a window could not be rendered")
            return Refused(asked.number, f"{type(error).__name__}: {error}")

    def _take_all(self) -> bool:
        """Do what was asked meanwhile; where there is nothing to step for, wait for it. Whether to
        go on."""
        while True:
            try:
                asked = self._inbox.get(block=not self._is_busy, timeout=self._patience)
            except queue.Empty:
                if self._is_busy:
                    return True
                self._rest()
                continue
            if isinstance(asked, Stop):
                return False
            self._take(asked)

    @property
    def _patience(self) -> float | None:
        """Seconds to wait for whatever is asked; None where nothing is due before."""
        if self._has_figures:
            return _UNTIL_FIGURES
        return None if self._is_tidy else _UNTIL_TIDY

    def _rest(self) -> None:
        """Do what is due while nobody asks for anything."""
        if self._has_figures:
            self._tell_figures()
        else:
            give_back_freed_memory()
            self._is_tidy = True

    def _take(self, asked: Rendered | Refused | Abort | Call) -> None:
        match asked:
            case Rendered():
                self._add(asked)
            case Refused():
                self._send(asked)
            case Abort(number):
                self._windows.abort(number)
            case Call():
                self._send(self._called(asked))

    def _add(self, window: Rendered) -> None:
        try:
            self._windows.add(window)
        except Exception as error:
            log.exception("vLLM does not take a window")
            self._send(Refused(window.number, f"{type(error).__name__}: {error}"))

    def _called(self, asked: Call) -> Answer | Refused:
        try:
            (value,) = self._llm.collective_rpc(asked.method, args=asked.arguments)
        except Exception as error:
            log.exception("a call failed")
            return Refused(asked.number, f"{type(error).__name__}: {error}")
        return Answer(asked.number, value)

    def _step(self) -> None:
        outputs = self._llm.step()
        arrived = tuple(one for output in outputs if (one := self._windows.arrived(output)))
        if arrived:
            self._send(Steps(arrived))
        self._has_figures, self._is_tidy = self._registry is not None, False
        if time.monotonic() - self._figures_at >= _BETWEEN_FIGURES:
            self._tell_figures()

    def _tell_figures(self) -> None:
        """Send vLLM's metrics, where anybody observes them."""
        if self._registry is not None:
            self._send(Figures(tuple(self._registry.collect())))
        self._figures_at, self._has_figures = time.monotonic(), False

    def _send(self, message: FromEngine) -> None:
        self._connection.send(message)


def serve(connection: Connection, start: EngineStart) -> None:
    """Start an engine and decode until the service says stop, or is gone."""
    keep_freed_memory()
    set_process_title(_NAME)
    decorate_logs(_NAME)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the service has it
    try:
        process = EngineProcess(connection, start)
    except Exception as error:
        log.exception("the engine did not start")
        connection.send(Failed(f"{type(error).__name__}: {error}"))
        return
    connection.send(Ready())
    try:
        process.run()
    except BrokenPipeError:  # the service is gone
        return
    if start.traces_endpoint:
        _send_spans()


def start_engine(start: EngineStart, registry: CollectorRegistry | None = None) -> LLMEngine:
    """Start vLLM's engine in this process; its metrics go to the registry, where there is one."""
    arguments = engine_arguments(start)
    config = arguments.create_engine_config()
    return LLMEngine(
        vllm_config=config,
        executor_class=Executor.get_class(config),
        log_stats=not arguments.disable_log_stats,
        stat_loggers=None if registry is None else [stat_logger(registry)],
    )


def _send_spans() -> None:
    """Send the spans that are left: a forked process runs no handlers at its end."""
    from opentelemetry import trace

    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shutdown:
        shutdown()
