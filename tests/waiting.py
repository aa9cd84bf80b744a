"""Waiting in an event loop, for as long as a loaded machine takes."""

import asyncio


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def turns(number=50):
    """Of the loop, in which whatever needs no more than that is done."""
    for _ in range(number):
        await asyncio.sleep(0)
