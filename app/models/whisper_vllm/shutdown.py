"""The end of an AsyncLLM, which vLLM takes for an engine's death and tells of as one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError


def shut_down(llm: AsyncLLM, seconds: float) -> None:
    """End vLLM's processes, those that take longer than `seconds` by force, and log nothing of it.
    Blocking; from another thread than the event loop's."""
    reader = llm.output_handler
    if reader is not None:
        # It would log the death of the engine that it reads from.
        _soon(reader.get_loop(), reader.cancel)
    try:
        llm.shutdown(timeout=seconds)
    finally:
        # The finalizer would do it again, at the interpreter's end, with vLLM's modules gone.
        llm.shutdown = _nothing


def tell_the_waiting(llm: AsyncLLM, loop: asyncio.AbstractEventLoop | None) -> None:
    """Windows in flight raise EngineDeadError: with the reader's end they would wait for ever."""
    if loop:
        _soon(loop, llm.output_processor.propagate_error, EngineDeadError())


def _nothing(timeout: float | None = None) -> None: ...


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop has ended, and what waits in it
        loop.call_soon_threadsafe(call, *arguments)
