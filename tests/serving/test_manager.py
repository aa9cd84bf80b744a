"""One engine at a time: opened, exchanged for another, and put away for a job."""

import asyncio
from contextlib import suppress

import pytest

from app.errors import (
    CanaryFailed,
    EngineDied,
    EngineFailed,
    NotReady,
    OutOfMemory,
    TooManyRequests,
)
from app.serving.lifecycle import Stage
from tests.serving.fakes import going, passes, request
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio


# Opening


async def test_nothing_serves_before_an_engine_is_open(house, host):
    assert host.checkpoint is None
    assert not house.alive()
    with pytest.raises(NotReady, match="resolving"):
        await request(house)()


async def test_opening_shows_its_stages_and_serves(house, host, make, stages):
    await host.open(make("first"))
    assert stages == [Stage.RESOLVING, Stage.LOADING, Stage.WARMING, Stage.READY]
    assert house.ready().name == "first"
    assert house.model.facts["kernels"] == {"marlin": 4}
    assert host.checkpoint.source.name == "first"
    assert house.alive()
    assert 'source="first"' in house.metrics.whole.exposition().decode()


async def test_what_cannot_be_opened_says_why(house, host, loader, make):
    loader.faults["first"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed):
        await host.open(make("first"))
    assert house.model is None


# Exchanging


async def test_an_exchange_ends_the_old_engine_before_the_new_one_starts(
    house, host, loader, make, stages
):
    await host.open(make("first"))

    async def check(service):
        assert service.checkpoint.source.name == "second"
        assert loader.running == ["second"]
        assert house.model is None
        assert house.status().stage is Stage.EXCHANGING
        assert host.busy

    stages.clear()
    await host.exchange(make("second"), check)
    assert set(stages) == {Stage.EXCHANGING, Stage.READY}
    assert stages.count(Stage.READY) == 1
    assert loader.running == ["second"]
    assert house.ready().name == "second"
    assert not host.busy
    told = house.metrics.whole.exposition().decode()
    assert 'source="second"' in told
    assert 'source="first"' not in told


async def test_requests_under_way_finish_first(house, host, loader, make):
    await host.open(make("first"))
    under_way = request(house)
    async with going(under_way(), host.exchange(make("second"), passes)) as (answer, exchange):
        await until(lambda: house.status().stage is Stage.EXCHANGING)
        await turns()
        assert loader.running == ["first"]
        assert not exchange.done()
        under_way.end.set()
        assert await answer == "first"
        await exchange
    assert loader.running == ["second"]


@pytest.mark.parametrize("settings", [{"drain_seconds": 0.05}, {"drain_seconds": 0}])
async def test_they_are_waited_for_no_longer_than_the_bound(house, host, loader, make):
    await host.open(make("first"))
    stuck = request(house)
    async with going(stuck()) as answer:
        await until(lambda: house.admission.under_way)
        async with asyncio.timeout(60):
            await host.exchange(make("second"), passes)
        assert loader.running == ["second"]
        assert not answer.done()
        stuck.end.set()
        assert await answer == "first"
    assert not house.admission.under_way


async def test_new_requests_wait_and_are_answered_by_the_new_engine(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    late = [request(house, ended=True) for _ in range(5)]
    async with going(host.exchange(make("second"), passes), *(one() for one in late)) as tasks:
        await until(lambda: house.admission.waiters == 5)
        await turns()
        assert not any(task.done() for task in tasks)
        loader.gate.set()
        exchange, *answers = tasks
        assert set(await asyncio.gather(*answers)) == {"second"}
        await exchange
    assert (house.admission.waiters, house.admission.under_way) == (0, 0)


async def test_they_are_answered_by_the_old_one_where_the_new_one_fails(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    loader.faults["second"] = OutOfMemory("none left", "buy")
    late = request(house, ended=True)
    async with going(host.exchange(make("second"), passes), late()) as (exchange, answer):
        await until(lambda: house.admission.waiters)
        loader.gate.set()
        assert await answer == "first"
        with pytest.raises(OutOfMemory):
            await exchange


@pytest.mark.parametrize("settings", [{"max_requests": 3}])
async def test_no_more_wait_than_may_be_under_way(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    under_way, late = request(house), [request(house, ended=True) for _ in range(2)]
    async with going(under_way(), host.exchange(make("second"), passes),
                     *(one() for one in late)) as tasks:  # fmt: skip
        await until(lambda: house.admission.waiters == 2)
        with pytest.raises(TooManyRequests, match="3 requests") as caught:
            await request(house)()
        assert caught.value.retry_after
        assert (house.admission.waiters, house.admission.under_way) == (2, 1)
        under_way.end.set()
        loader.gate.set()
        await asyncio.gather(*tasks)
    assert (house.admission.waiters, house.admission.under_way) == (0, 0)


@pytest.mark.parametrize("settings", [{"max_requests": 4}])
async def test_all_that_waited_get_in_however_many_they_are(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    late = [request(house) for _ in range(4)]
    async with going(host.exchange(make("second"), passes), *(one() for one in late)):
        await until(lambda: house.admission.waiters == 4)
        loader.gate.set()
        await until(lambda: house.admission.under_way == 4)
    assert {one.name for one in late} == {"second"}


@pytest.mark.parametrize(
    "settings", [{"exchange_wait_seconds": 0.02}, {"exchange_wait_seconds": 0}]
)
async def test_a_request_that_has_waited_too_long_is_told_to_come_back(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    async with going(host.exchange(make("second"), passes)) as exchange:
        await loader.loading.wait()
        await until(lambda: house.status().stage is Stage.EXCHANGING)
        async with asyncio.timeout(60):
            with pytest.raises(NotReady, match="exchanging") as caught:
                await request(house)()
        assert caught.value.retry_after > 0
        assert house.admission.waiters == 0
        loader.gate.set()
        await exchange


async def test_a_client_that_leaves_waits_no_longer(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    async with going(host.exchange(make("second"), passes)) as exchange:
        await until(lambda: house.status().stage is Stage.EXCHANGING)
        async with going(request(house)()):
            await until(lambda: house.admission.waiters)
        assert house.admission.waiters == 0
        loader.gate.set()
        await exchange


async def test_where_the_new_one_does_not_start_the_old_one_serves_again(
    house, host, loader, make, stages
):
    await host.open(make("first"))
    loader.faults["second"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed, match="no"):
        await host.exchange(make("second"), passes)
    assert loader.running == ["first"]
    assert len(loader.loaded) == 2
    assert house.ready().name == "first"
    assert host.checkpoint.source.name == "first"
    assert stages[-1] is Stage.READY
    assert not host.busy


@pytest.mark.parametrize("error", [CanaryFailed("heard otherwise", "look"), EngineDied("gone")])
async def test_where_it_does_not_stand_the_check_the_old_one_serves_again(
    house, host, loader, make, error
):
    await host.open(make("first"))

    async def check(service):
        raise error

    with pytest.raises(type(error)) as caught:
        await host.exchange(make("second"), check)
    assert caught.value is error
    assert [one.loaded.engine.alive for one in loader.loaded] == [False, False, True]
    assert house.ready().name == "first"


async def test_after_a_failed_exchange_another_one_is_good(house, host, loader, make):
    await host.open(make("first"))
    loader.faults["second"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed):
        await host.exchange(make("second"), passes)
    await host.exchange(make("third"), passes)
    assert loader.running == ["third"]


@pytest.mark.parametrize("where", ["load", "check"])
async def test_where_it_fails_unforeseen_the_old_one_serves_again(house, host, loader, make, where):
    await host.open(make("first"))

    async def check(service):
        if where == "check":
            raise KeyError("klingon")

    if where == "load":
        loader.faults["second"] = RuntimeError("from vLLM")
    with suppress(KeyError, RuntimeError):
        await host.exchange(make("second"), check)
    assert house.ready().name == "first"


async def test_an_old_engine_that_does_not_end_cleanly_is_not_the_end(house, host, loader, make):
    await host.open(make("first"))

    def stop():
        loader.loaded[0].loaded.engine.stopped = True
        raise RuntimeError("from vLLM's shutdown")

    loader.loaded[0].loaded.engine.stop = stop
    with suppress(RuntimeError):
        await host.exchange(make("second"), passes)
    assert house.ready()


async def test_two_exchanges_at_once_come_one_after_the_other(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    seen = []

    async def check(service):
        seen.append((service.checkpoint.source.name, loader.running))

    both = host.exchange(make("second"), check), host.exchange(make("third"), check)
    async with going(*both) as tasks:
        await loader.loading.wait()
        await turns()
        assert host.busy
        loader.gate.set()
        await asyncio.gather(*tasks)
    assert seen == [("second", ["second"]), ("third", ["third"])]
    assert house.ready().name == "third"
    assert not host.busy


async def test_the_second_of_two_goes_back_to_the_first(house, host, loader, make):
    await host.open(make("first"))
    loader.faults["third"] = EngineFailed("no", "way")
    results = await asyncio.gather(
        host.exchange(make("second"), passes),
        host.exchange(make("third"), passes),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], EngineFailed)
    assert house.ready().name == "second"


async def test_the_old_one_may_have_died_before_it_is_exchanged(house, host, loader, make):
    await host.open(make("first"))
    loader.loaded[0].loaded.engine.dead = True
    await host.exchange(make("second"), passes)
    assert house.ready().name == "second"


# Making room


async def test_an_engine_makes_room_and_comes_back(house, host, loader, make, stages):
    await host.open(make("first"))
    await host.release_device("a checkpoint is being made")
    assert loader.running == []
    assert house.model is None
    assert house.status().body() == {
        "status": "maintenance",
        "detail": "a checkpoint is being made",
    }
    with pytest.raises(NotReady, match="maintenance") as caught:
        await request(house)()
    assert caught.value.retry_after
    assert host.checkpoint.source.name == "first"
    await host.resume_serving()
    assert loader.running == ["first"]
    assert house.ready().name == "first"
    assert stages[-1] is Stage.READY


async def test_requests_under_way_finish_before_room_is_made(house, host, loader, make):
    await host.open(make("first"))
    under_way = request(house)
    async with going(under_way(), host.release_device("work")) as (answer, room):
        await until(lambda: house.status().stage is Stage.EXCHANGING)
        await turns()
        assert loader.running == ["first"]
        under_way.end.set()
        assert await answer == "first"
        await room
    assert loader.running == []


async def test_those_that_wait_when_room_is_made_are_told_to_come_back(house, host, loader, make):
    await host.open(make("first"))
    under_way, late = request(house), request(house)
    async with going(under_way(), host.release_device("work"), late()) as (_, room, waits):
        await until(lambda: house.admission.waiters)
        under_way.end.set()
        with pytest.raises(NotReady, match="maintenance"):
            await waits
        await room


async def test_those_that_come_while_it_is_loaded_again_wait_for_it(house, host, loader, make):
    await host.open(make("first"))
    await host.release_device("work")
    loader.gate = asyncio.Event()
    late = request(house, ended=True)
    async with going(host.resume_serving(), late()) as (again, answer):
        await until(lambda: house.admission.waiters)
        loader.gate.set()
        assert await answer == "first"
        await again


@pytest.mark.parametrize("settings", [{"engine_restarts": 0}])
async def test_what_cannot_be_loaded_again_is_raised_and_given_up(house, host, loader, make):
    await host.open(make("first"))
    await host.release_device("work")
    loader.faults["first"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed, match="could not be started again"):
        await host.resume_serving()
    assert "could not be started again" in host.fatal_error.message


async def test_from_maintenance_another_checkpoint_may_be_promoted(house, host, loader, make):
    await host.open(make("first"))
    await host.release_device("work")
    await host.exchange(make("second"), passes, released_device=True)
    assert loader.running == ["second"]
    assert house.ready().name == "second"


async def test_from_maintenance_a_failed_promotion_goes_back_to_the_old_one(
    house, host, loader, make
):
    await host.open(make("first"))
    await host.release_device("work")
    loader.faults["second"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed):
        await host.exchange(make("second"), passes, released_device=True)
    assert house.ready().name == "first"


async def test_nobody_else_exchanges_while_the_device_is_a_jobs(house, host, loader, make):
    await host.open(make("first"))
    await host.release_device("work")
    with pytest.raises(NotReady, match="a job's"):
        await host.exchange(make("second"), passes)
    assert loader.running == []
    await host.resume_serving()
    assert house.ready().name == "first"


# The end


async def test_stopping_ends_what_serves(house, host, loader, make):
    host.stop()
    await host.open(make("first"))
    host.stop()
    assert loader.running == []
    host.stop()
    assert not house.alive()
