"""Followers hear all of it, whenever they come."""

import asyncio

import pytest

from app.replay import Replay
from tests.waiting import turns

pytestmark = pytest.mark.anyio


async def heard(replay):
    return [item async for item in replay.follow()]


async def test_who_comes_early_late_or_afterwards_hears_the_same():
    replay = Replay()
    early = asyncio.create_task(heard(replay))
    await turns()
    replay.add(1)
    await turns()
    late = asyncio.create_task(heard(replay))
    await turns()
    replay.add(2)
    replay.close()
    assert await early == await late == await heard(replay) == [1, 2]


async def test_what_is_opened_again_goes_on():
    replay = Replay(over=True)
    assert await heard(replay) == []
    replay.open()
    follower = asyncio.create_task(heard(replay))
    await turns()
    assert not follower.done()
    replay.add(1)
    replay.close()
    assert await follower == [1]


async def test_of_very_many_the_newest_are_kept_and_who_follows_goes_on():
    replay = Replay(most=10)
    follower = replay.follow()
    replay.add(0)
    assert await anext(follower) == 0
    for number in range(1, 1000):
        replay.add(number)
        assert await anext(follower) == number
    assert len(replay._items) < 20
    late = replay.follow()
    first = await anext(late)
    assert 980 <= first <= 990
    replay.close()
    assert [item async for item in late] == list(range(first + 1, 1000))
    assert [item async for item in follower] == []
