"""A silent engine is stuck if it has something to say, and only then."""

import asyncio

import pytest

from app.serving.stalls import end_if_stuck
from tests.serving.fakes import FakeEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def looks(monkeypatch, engine):
    """What happens before each of the watch's looks, a second apart; then the engine ends."""
    script = []

    async def sleep(seconds):
        assert seconds == 1
        if not script:
            engine.stopped = True
            return
        for name, value in script.pop(0).items():
            setattr(engine, name, value)

    monkeypatch.setattr("app.serving.stalls.asyncio.sleep", sleep)
    return script


async def test_an_engine_that_has_windows_and_says_nothing_is_killed(engine, looks):
    looks += [{"windows": 3}] * 10
    assert await end_if_stuck(engine, 10)
    assert (engine.dead, engine.stalled, looks) == (True, True, [])


async def test_one_that_speaks_just_in_time_is_not(engine, looks):
    for outputs in range(4):
        looks += [{"windows": 1}] * 9 + [{"outputs": outputs + 1}]
    assert not await end_if_stuck(engine, 10)
    assert not engine.dead


async def test_an_idle_one_may_be_silent(engine, looks):
    looks += [{}] * 1000
    assert not await end_if_stuck(engine, 10)


async def test_what_it_did_before_it_was_busy_does_not_count(engine, looks):
    looks += [{}] * 1000 + [{"windows": 1}] * 9 + [{"outputs": 1}]
    assert not await end_if_stuck(engine, 10)


async def test_clients_that_leave_a_stuck_engine_one_by_one_do_not_hide_it(engine, looks):
    for number in range(4):
        looks += [{"windows": 1, "oldest": number}] * 3 + [{"windows": 0, "oldest": None}]
    assert await end_if_stuck(engine, 10)


async def test_clients_that_leave_a_slow_engine_one_by_one_do_not_have_it_killed(engine, looks):
    engine.responsive = True
    for number in range(40):
        looks += [{"windows": 1, "oldest": number}] * 3 + [{"windows": 0, "oldest": None}]
    assert not await end_if_stuck(engine, 10)
    assert not engine.dead


async def test_one_window_that_nothing_comes_of_is_enough_whatever_else_is_answered(engine, looks):
    engine.responsive = True
    looks += [{"windows": 1, "oldest": 7}] * 12
    assert await end_if_stuck(engine, 10)


async def test_a_short_bound_is_looked_at_more_often(engine):
    engine.windows = 1
    async with asyncio.timeout(60):
        assert await end_if_stuck(engine, 0.02)


async def test_an_engine_that_ends_by_itself_is_no_longer_watched(engine):
    engine.windows, engine.stopped = 1, True
    assert not await end_if_stuck(engine, 0.02)
    assert not engine.stalled
