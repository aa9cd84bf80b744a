"""Hearing a recording while it is decoded: what looks through the samples need not wait for the
last of them."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from app.audio import handover
from app.audio.waveform import Pcm
from app.process import in_daemon_thread

Hear = Callable[[Pcm], None]  # takes all there is so far, from the beginning on; may block

_BETWEEN = 0.02  # seconds between two looks


@asynccontextmanager
async def following(room: int, hear: Hear | None) -> AsyncGenerator[None]:
    """Have `hear` called in a thread with what a room holds so far, as often as there is more.

    It is not called any more once this is left, but where it is left by an exception, which is not
    kept waiting. Raises what `hear` raises.
    """
    if hear is None:
        yield
        return
    over = threading.Event()
    heard = asyncio.ensure_future(in_daemon_thread(_follow, os.dup(room), hear, over))
    try:
        yield
    except BaseException:
        heard.cancel()
        raise
    finally:
        over.set()
    await heard


def _follow(room: int, hear: Hear, over: threading.Event) -> None:
    """Call `hear` until it is over. The descriptor is closed then."""
    try:
        samples, known = handover.whole(room), 0
        while not over.wait(_BETWEEN):
            if (count := handover.written(room)) > known:
                hear(samples[:count])
                known = count
    finally:
        os.close(room)
