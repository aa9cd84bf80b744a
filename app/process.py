"""Helpers for the lives of processes and threads (Linux)."""

import asyncio
import copy
import ctypes
import logging
import mmap
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_LAST_WAIT = 10  # seconds
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, by whatever cause.

    The thread, not the process: start such children from a thread that lasts. `parent` is the
    starter's pid: if that is no longer this process's parent, the starter has ended before the
    call.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def set_idle_priority(process: int) -> None:
    """Have a process run only while nobody else wants its processors (SCHED_IDLE): all its threads,
    and what they start from here on. Nothing changes where the kernel refuses or the process has
    ended.

    A lower priority (`nice`) is not enough beside an engine whose threads wait for each other at
    every layer: each slice that one of them loses, all lose.
    """
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError):
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, in Linux's words; nothing where it has other words."""
    with open("/proc/cpuinfo") as lines:
        flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split()[2:])


def has_half_precision() -> bool:
    """Whether the processor multiplies 16-bit numbers at a useful rate. Without AVX-512, oneDNN
    multiplies bfloat16 several times slower than float32."""
    flags = processor_flags()
    return not flags or "avx512f" in flags


def keep_freed_memory() -> None:
    """Have glibc keep blocks up to 8 MiB, once freed, for the next request, and no larger ones.

    A window is made of arrays of a few MB. Mapped anew, as by default, each is cleared by the
    kernel page by page. By default glibc also learns to keep larger ones, up to 32 MiB; of those
    that are aligned, as PyTorch's are, it finds hardly any again, so that an engine which encodes
    several windows at once grows with every one of them (glibc 2.36; `python -m bench.growth`).
    Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**23)
        mallopt(_M_TRIM_THRESHOLD, 2**26)


def give_back_freed_memory() -> None:
    """Have glibc give the kernel back what it keeps of freed blocks, and of holes between others
    whole pages. The next to need memory has it mapped anew. Without glibc this does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget_zeros(address: int, size: int) -> None:
    """Have the kernel take back what a process has of its own at an address, so many bytes, without
    a copy: whole pages of it read as zeros from here on, and take no memory until they are written.
    """
    begin, end = -(-address // mmap.PAGESIZE), (address + size) // mmap.PAGESIZE
    if begin < end:
        of = ctypes.c_void_p(begin * mmap.PAGESIZE), ctypes.c_size_t((end - begin) * mmap.PAGESIZE)
        ctypes.CDLL(None).madvise(*of, mmap.MADV_DONTNEED)


async def in_daemon_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run a function as asyncio.to_thread does, for work that may block for hours: nothing waits
    for its thread when the process is told to end."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from here on no cancellation reaches the thread

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)


_making = threading.local()  # .children: those of the start that this thread is in


@contextmanager
def children_in_time(seconds: float) -> Generator[None]:
    """Kill the child processes that this thread makes inside the context, by a context from
    `counting`, where it is not left in time: whoever waits for one of them then sees its end. What
    other threads make meanwhile is not touched."""
    mine: list[BaseProcess] = []

    def kill() -> None:
        for child in mine:
            if child.pid is not None:  # it was started
                log.error("process %s did not get ready in %g s, and is killed", child.pid, seconds)
                child.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    _making.children = mine
    try:
        yield
    finally:
        del _making.children
        timer.cancel()


def counting(context: BaseContext) -> Any:
    """A context of multiprocessing's, whose processes `children_in_time` knows."""
    own: Any = copy.copy(context)
    process = own.Process

    def make(*given: Any, **named: Any) -> BaseProcess:
        child: BaseProcess = process(*given, **named)
        getattr(_making, "children", []).append(child)
        return child

    own.Process = make
    return own


async def run_shielded(work: Callable[..., T], *arguments: Any) -> T:
    """Run a function as in_daemon_thread does, for work of seconds that must be over before
    anything else begins: a cancellation waits for the work."""
    working = asyncio.ensure_future(in_daemon_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()  # seen: whoever asked is gone
        raise


async def run_interruptible(stop: Callable[[], None], work: Callable[..., T], *arguments: Any) -> T:
    """Run a function as in_daemon_thread does, for work that `stop` ends: a cancellation calls
    `stop`, and waits a while for the work to clean up."""
    working = asyncio.ensure_future(in_daemon_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait({working}, timeout=_LAST_WAIT)
        if working.done():
            working.exception()  # seen: it is the stop's own doing
        raise
