"""An engine that dies is started again; one that nobody wants is put away, and brought back."""

import asyncio

import pytest

from app.errors import EngineDied, EngineFailed, NotReady, ShuttingDown
from app.serving.lifecycle import Stage
from app.serving.supervisor import supervise
from tests.serving.fakes import going, passes, request
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio

IDLE = pytest.mark.parametrize("settings", [{"idle_unload_seconds": 100}])


def watching(host):
    return going(supervise(host, between=0.0005))


def stage(house):
    return house.lifecycle.status.stage


def die(loader, **how):
    engine = loader.loaded[-1].loaded.engine
    for name in ("dead", *how):
        setattr(engine, name, True)


def restarts(house, reason):
    return house.metrics.whole.registry.get_sample_value(
        "marlinscribe_engine_restarts_total", {"model": "mine", "reason": reason}
    )


async def lost(house):
    await until(lambda: stage(house) is Stage.RESTARTING)
    await turns()


# Death


@pytest.mark.parametrize(("how", "reason"), [({}, "died"), ({"stalled": True}, "stalled")])
async def test_an_engine_that_is_gone_is_started_again(
    house, host, loader, make, clock, stages, how, reason
):
    await host.open(make("first"))
    async with watching(host):
        die(loader, **how)
        assert house.status().stage is Stage.RESTARTING  # before the watch has seen it
        with pytest.raises(NotReady, match="restarting"):
            await request(house)()
        await lost(house)
        assert len(loader.loaded) == 1  # not before the pause is over
        clock.now += 1
        await until(lambda: stage(house) is Stage.READY)
    assert loader.loaded[0].loaded.engine.stopped
    assert loader.running == ["first"]
    assert house.ready().name == "first"
    assert restarts(house, reason) == 1
    assert stages[-1] is Stage.READY


async def test_clients_are_told_how_long_the_last_start_took(house, host, loader, make):
    await host.open(make("first"))
    house.lifecycle.engine_seconds = 40.0
    async with watching(host):
        die(loader)
        await lost(house)
        with pytest.raises(NotReady) as caught:
            await request(house)()
        assert 35 <= caught.value.retry_after <= 41
        body = house.status().body()
        assert body["status"] == "restarting"
        assert "1 of 5" in body["detail"]


async def test_how_long_a_start_takes_is_measured(house, host, make):
    assert house.lifecycle.eta() is None
    await host.open(make("first"))
    assert house.lifecycle.engine_seconds > 0


async def test_starts_that_fail_come_after_longer_and_longer_pauses(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    loader.faults["first"] = EngineDied("while it was warmed up")
    async with watching(host):
        die(loader)
        for pause in (1, 2, 4):
            await lost(house)
            tried = restarts(house, "died") or 0
            clock.now += pause - 0.1
            await turns(500)
            assert (restarts(house, "died") or 0) == tried
            clock.now += 0.1
            await until(lambda tried=tried: restarts(house, "died") == tried + 1)
        await lost(house)
        loader.faults.clear()
        clock.now += 8
        await until(lambda: stage(house) is Stage.READY)
    assert loader.running == ["first"]


@pytest.mark.parametrize("settings", [{"engine_restarts": 2}])
async def test_after_as_many_as_may_fail_it_is_given_up(house, host, loader, make, clock):
    await host.open(make("first"))
    loader.faults["first"] = RuntimeError("from vLLM")
    async with watching(host) as task:
        die(loader)
        for tried in (1, 2):
            await lost(house)
            clock.now += 60
            await until(lambda tried=tried: restarts(house, "died") == tried)
            await until(lambda: not host.busy)
        with pytest.raises(EngineFailed, match="from vLLM"):
            await task
    assert restarts(house, "died") == 2
    assert house.model is None


@pytest.mark.parametrize("settings", [{"engine_restarts": 0}])
async def test_no_restarts_means_the_first_death_is_the_end(house, host, loader, make):
    await host.open(make("first"))
    async with watching(host) as task:
        die(loader)
        with pytest.raises(EngineFailed, match="died"):
            await task
    assert len(loader.loaded) == 1


@pytest.mark.parametrize("settings", [{"engine_restarts": 2}])
async def test_one_that_starts_and_dies_again_and_again_is_given_up_too(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    async with watching(host) as task:
        for _ in range(2):
            die(loader)
            await lost(house)
            clock.now += 60
            await until(lambda: stage(house) is Stage.READY)
        die(loader)
        with pytest.raises(EngineFailed):
            await task


@pytest.mark.parametrize("settings", [{"engine_restarts": 1}])
async def test_deaths_that_are_far_between_do_not_add_up(house, host, loader, make, clock):
    await host.open(make("first"))
    async with watching(host):
        for _ in range(3):
            clock.now += 300
            die(loader)
            await lost(house)
            clock.now += 1
            await until(lambda: stage(house) is Stage.READY)


async def test_a_death_while_the_engine_is_started_again_is_a_start_that_failed(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    async with watching(host):
        die(loader)
        await lost(house)
        loader.gate = asyncio.Event()
        loader.loading.clear()
        clock.now += 1
        await loader.loading.wait()
        assert host.busy
        loader.faults["first"] = EngineDied("gone")
        loader.gate.set()
        await until(lambda: "2 of 5" in house.lifecycle.status.detail)
        loader.faults.clear()
        clock.now += 2
        await until(lambda: stage(house) is Stage.READY)


async def test_the_watch_is_silent_while_there_is_no_engine_to_watch(house, host, loader, make):
    async with watching(host) as task:
        await turns()
        await host.open(make("first"))
        await host.release_device("work")
        await turns()
        assert not task.done()
        assert loader.running == []


# Beside exchanges and jobs


async def test_a_death_during_an_exchange_is_the_exchanges_own(house, host, loader, make):
    await host.open(make("first"))

    async def check(service):
        service.loaded.engine.dead = True
        await turns()
        raise EngineDied("gone")

    async with watching(host):
        with pytest.raises(EngineDied):
            await host.exchange(make("second"), check)
        await turns()
    assert house.ready().name == "first"
    assert restarts(house, "died") == 0


async def test_where_neither_the_new_nor_the_old_one_serves_the_old_one_is_tried_again(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    loader.faults |= {name: EngineFailed(f"not {name}", "why") for name in ("first", "second")}
    async with watching(host):
        with pytest.raises(EngineFailed, match="What served before could not be started again"):
            await host.exchange(make("second"), passes)
        assert stage(house) is Stage.RESTARTING
        del loader.faults["first"]
        clock.now += 1
        await until(lambda: stage(house) is Stage.READY)
    assert house.ready().name == "first"


@pytest.mark.parametrize("settings", [{"engine_restarts": 0}])
@pytest.mark.parametrize("fault", [EngineFailed("not first", "why"), RuntimeError("not first")])
async def test_without_restarts_that_is_the_end(house, host, loader, make, fault):
    await host.open(make("first"))
    loader.faults |= {"first": fault, "second": EngineFailed("no", "way")}
    async with watching(host) as task:
        with pytest.raises(EngineFailed):
            await host.exchange(make("second"), passes)
        with pytest.raises(EngineFailed, match="not first"):
            await task


async def test_an_exchange_during_the_pause_ends_it(house, host, loader, make, clock):
    await host.open(make("first"))
    async with watching(host):
        die(loader)
        await lost(house)
        await host.exchange(make("second"), passes)
        clock.now += 60
        await turns(500)
    assert loader.running == ["second"]
    assert len(loader.loaded) == 2
    assert restarts(house, "died") == 0


async def test_a_failed_exchange_during_the_pause_brings_the_old_one_back(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    loader.faults["second"] = EngineFailed("no", "way")
    async with watching(host):
        die(loader)
        await lost(house)
        with pytest.raises(EngineFailed):
            await host.exchange(make("second"), passes)
        clock.now += 60
        await turns(500)
    assert loader.running == ["first"]


async def test_an_exchange_that_waits_for_a_restart_comes_after_it(
    house, host, loader, make, clock
):
    await host.open(make("first"))
    async with watching(host):
        die(loader)
        await lost(house)
        loader.gate = asyncio.Event()
        loader.loading.clear()
        clock.now += 1
        await loader.loading.wait()
        async with going(host.exchange(make("second"), passes)) as exchange:
            await turns()
            loader.gate.set()
            await exchange
        await turns()
    assert [one.checkpoint.source.name for one in loader.loaded] == ["first", "first", "second"]
    assert loader.running == ["second"]


async def test_a_job_during_the_pause_has_the_device_to_itself(house, host, loader, make, clock):
    await host.open(make("first"))
    async with watching(host):
        die(loader)
        await lost(house)
        await host.release_device("work")
        clock.now += 60
        await turns(500)
        assert (loader.running, stage(house)) == ([], Stage.MAINTENANCE)
        await host.resume_serving()
    assert loader.running == ["first"]


# Idle


@pytest.fixture
def idle(house, host, make, clock):
    """Opens the first checkpoint and waits until it is put away."""

    async def unload_idle():
        await host.open(make("first"))
        clock.now += 100
        await until(lambda: stage(house) is Stage.IDLE)
        await until(lambda: not host.busy)

    return unload_idle


@IDLE
async def test_an_engine_that_nobody_wants_is_ended_and_counts_as_ready(
    house, host, loader, idle, clock
):
    async with watching(host):
        await idle()
    assert loader.running == []
    assert house.status().answers
    assert house.status().body() == {"status": "idle"}
    assert house.known().name == "first"


async def test_by_default_it_is_not(house, host, loader, make, clock):
    await host.open(make("first"))
    async with watching(host):
        clock.now += 1e9
        await turns(500)
    assert loader.running == ["first"]


@IDLE
async def test_requests_wake_it_and_wait_for_it(house, host, loader, idle):
    async with watching(host):
        await idle()
        loader.gate = asyncio.Event()
        loader.loading.clear()
        late = [request(house, ended=True) for _ in range(3)]
        async with going(*(one() for one in late)) as tasks:
            await until(lambda: house.admission.waiters == 3)
            await loader.loading.wait()
            assert house.status().answers
            loader.gate.set()
            assert set(await asyncio.gather(*tasks)) == {"first"}
    assert loader.running == ["first"]
    assert len(loader.loaded) == 2
    assert restarts(house, "died") == 0


@IDLE
async def test_whatever_is_under_way_keeps_it(house, host, loader, make, clock):
    await host.open(make("first"))
    one = request(house)
    async with watching(host), going(one()) as answer:
        await until(lambda: one.name)
        clock.now += 1e6
        await turns(500)
        assert loader.running == ["first"]
        loader.loaded[0].loaded.engine.used = clock.now
        one.end.set()
        await answer
        clock.now += 99
        await turns(500)
        assert loader.running == ["first"]
        clock.now += 1
        await until(lambda: loader.running == [])


@IDLE
async def test_a_request_that_comes_while_it_is_put_away_is_answered(
    house, host, loader, make, clock
):
    """Its engine is ended already, but not gone."""
    await host.open(make("first"))
    engine = loader.loaded[0].loaded.engine
    late = request(house, ended=True)
    answers, loop = [], asyncio.get_running_loop()

    def stop():
        if not engine.stopped:
            engine.stopped = True
            asyncio.run_coroutine_threadsafe(ask(), loop).result(60)

    async def ask():
        assert stage(house) is Stage.IDLE
        answers.append(asyncio.ensure_future(late()))
        await turns()

    engine.stop = stop
    async with watching(host):
        clock.now += 100
        await until(lambda: answers)
        assert await answers[0] == "first"
    assert loader.running == ["first"]


@IDLE
async def test_a_client_that_leaves_while_it_wakes_does_not_keep_it_from_waking(
    house, host, loader, idle
):
    async with watching(host):
        await idle()
        loader.gate = asyncio.Event()
        loader.loading.clear()
        async with going(request(house)()):
            await loader.loading.wait()
        assert house.admission.waiters == 0
        loader.gate.set()
        await until(lambda: stage(house) is Stage.READY)
    assert loader.running == ["first"]


@pytest.mark.parametrize("settings", [{"idle_unload_seconds": 100, "exchange_wait_seconds": 0.02}])
async def test_a_request_waits_no_longer_than_it_would_for_an_exchange(house, host, loader, idle):
    async with watching(host):
        await idle()
        house.lifecycle.engine_seconds = 30.0
        loader.gate = asyncio.Event()
        with pytest.raises(NotReady, match="idle") as caught:
            await request(house)()
        assert 25 <= caught.value.retry_after <= 30
        loader.gate.set()
        await until(lambda: stage(house) is Stage.READY)


@IDLE
async def test_one_that_does_not_wake_is_as_good_as_dead(house, host, loader, idle, clock):
    async with watching(host):
        await idle()
        loader.faults["first"] = EngineFailed("no", "way")
        with pytest.raises(NotReady, match="restarting"):
            await request(house)()
        loader.faults.clear()
        clock.now += 1
        await until(lambda: stage(house) is Stage.READY)


@IDLE
async def test_an_idle_engine_may_be_exchanged(house, host, loader, make, idle):
    async with watching(host):
        await idle()
        await host.exchange(make("second"), passes)
        await turns()
    assert loader.running == ["second"]
    assert len(loader.loaded) == 2


@IDLE
async def test_a_request_during_an_idle_engines_exchange_gets_the_new_one(
    house, host, loader, make, idle
):
    late, early = request(house, ended=True), request(house, ended=True)
    await idle_without_watch(house, host, idle)
    async with going(early()) as first:
        await until(lambda: house.admission.waiters)
        loader.gate = asyncio.Event()
        loader.loading.clear()
        async with watching(host), going(host.exchange(make("second"), passes), late()) as tasks:
            await loader.loading.wait()
            loader.gate.set()
            await tasks[0]
            assert await tasks[1] == "second"
            assert await first in ("first", "second")
    assert loader.running == ["second"]


async def idle_without_watch(house, host, idle):
    async with watching(host):
        await idle()


@IDLE
async def test_a_job_may_have_an_idle_engines_device(house, host, loader, idle):
    async with watching(host):
        await idle()
        await host.release_device("work")
        assert stage(house) is Stage.MAINTENANCE
        await host.resume_serving()
    assert loader.running == ["first"]


@IDLE
async def test_reopening_what_never_made_room_leaves_it_idle(house, host, loader, idle):
    async with watching(host):
        await idle()
        await host.resume_serving()
        assert (stage(house), loader.running) == (Stage.IDLE, [])


# The end


@pytest.mark.parametrize("where", ["ready", "restarting", "idle"])
@IDLE
async def test_nothing_is_started_again_once_the_service_stops(
    house, host, loader, make, clock, where
):
    await host.open(make("first"))
    async with watching(host) as task:
        if where == "restarting":
            die(loader)
            await lost(house)
        if where == "idle":
            clock.now += 100
            await until(lambda: stage(house) is Stage.IDLE)
        house.lifecycle.enter(Stage.STOPPING)
        die(loader)
        host.wanted.set()
        clock.now += 1e6
        await turns(500)
        assert not task.done()
    assert (len(loader.loaded), loader.running) == (1, [])
    assert stage(house) is Stage.STOPPING


async def test_what_is_exchanged_meanwhile_lets_nobody_in_once_it_stops(house, host, loader, make):
    await host.open(make("first"))
    loader.gate = asyncio.Event()
    async with going(host.exchange(make("second"), passes), request(house)()) as tasks:
        await until(lambda: house.admission.waiters)
        house.lifecycle.enter(Stage.STOPPING)
        with pytest.raises(ShuttingDown, match="shutting down"):
            await tasks[1]
        loader.gate.set()
        await tasks[0]
    assert stage(house) is Stage.STOPPING
    host.stop()
    assert loader.running == []
