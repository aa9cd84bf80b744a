"""Waiting in an event loop, for as long as a loaded machine takes, and time that does not pass."""

import asyncio


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def turns(number=50):
    """Of the loop, in which whatever needs no more than that is done."""
    for _ in range(number):
        await asyncio.sleep(0)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now
