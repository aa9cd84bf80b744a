"""Samples are heard while a child still writes them."""

import asyncio
import os
import threading

import numpy as np
import pytest

from app.audio import handover
from app.audio.following import following
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def room():
    with handover.room(1) as room:
        yield room


def write(room, *samples):
    """As a child does, which has the descriptor too."""
    os.write(room, np.array(samples, np.int16).tobytes())


async def test_what_is_written_is_heard_from_the_beginning_on(room):
    heard = []
    async with following(room, lambda pcm: heard.append(pcm.tolist())):
        write(room, 1, 2)
        await until(lambda: heard == [[1, 2]])
        write(room, 3)
        await until(lambda: heard == [[1, 2], [1, 2, 3]])


async def test_nothing_is_heard_once_it_is_over(room):
    heard = []
    async with following(room, lambda pcm: heard.append(len(pcm))):
        pass
    write(room, 1)
    await asyncio.sleep(0.1)
    assert heard == []


async def test_what_goes_wrong_while_it_is_heard_is_raised(room):
    heard = []

    def hear(pcm):
        heard.append(len(pcm))
        raise OSError("no detector")

    async def decode():
        async with following(room, hear):
            write(room, 1)
            await until(lambda: heard)

    with pytest.raises(OSError, match="no detector"):
        await decode()


async def test_a_cancellation_does_not_wait_for_who_hears(room):
    hears, may_end = threading.Event(), threading.Event()

    def hear(pcm):
        hears.set()
        may_end.wait(30)

    async def decode():
        async with following(room, hear):
            write(room, 1)
            await asyncio.Event().wait()

    task = asyncio.create_task(decode())
    await asyncio.to_thread(hears.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
