"""An engine that is started and not wanted any more is ended, whenever that is."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

import app.serving.loading
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.errors import EngineDied, EngineFailed
from app.metrics import Metrics
from app.models.base import LoadedModel
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.source import Source
from tests.serving.fakes import FakeEngine, SilentDecoder
from tests.waiting import Clock

pytestmark = pytest.mark.anyio

CHECKPOINT = Checkpoint(Source("mine", DEMO / "marine-radio", ""), DEMO / "marine-radio")


class Engine(FakeEngine):
    """One that says which kernels it has, or raises it."""

    def __init__(self):
        super().__init__()
        self.ended, self.kernels = threading.Event(), {"marlin": 4}

    def stop(self):
        super().stop()
        self.ended.set()

    async def linear_kernels(self):
        if isinstance(self.kernels, Exception):
            raise self.kernels
        return self.kernels


class Decoder(SilentDecoder):
    """One whose warm-up ends at once, or when `warm` is set; `warming` once it has begun."""

    def __init__(self, engine):
        self.engine, self.warming, self.warm = engine, asyncio.Event(), None

    async def warm_up(self):
        self.warming.set()
        if self.warm:
            await self.warm.wait()
        if self.engine.dead:
            raise EngineDied("gone")


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def decoder(engine):
    return Decoder(engine)


@pytest.fixture
def start(monkeypatch, engine, decoder):
    """A family that the loader starts: `began` once it does, ready when `go` is set."""

    class Family:
        began, go, options, fault = threading.Event(), threading.Event(), None, None

        def prepare(self, device, log_level):
            pass

        def start(self, name, folder, device, options):
            self.options = options
            self.began.set()
            assert self.go.wait(60)
            if self.fault:
                raise self.fault
            return LoadedModel(decoder, engine, 8, 0)

    one = Family()
    one.go.set()
    monkeypatch.setattr(app.serving.loading, "family_of", lambda config: one)
    return one


@pytest.fixture
def loader():
    return Loader(Settings(kv_cache_bytes=2**28), "cpu")


async def test_a_loaded_checkpoint_says_what_it_is(loader, start, engine):
    stages = []
    service = await loader.load(
        CHECKPOINT, Metrics().of("mine"), on_loaded=lambda: stages.append("loaded")
    )
    assert (service.loaded.engine, service.kernels, stages) == (engine, {"marlin": 4}, ["loaded"])
    facts = service.facts
    assert facts["weight_bytes"] == (DEMO / "marine-radio" / "model.safetensors").stat().st_size
    assert facts["languages"]
    assert (facts["source"], facts["fingerprint"]) == ("mine", None)
    assert engine.alive


async def test_a_checkpoint_that_was_tuned_for_another_device_says_so(loader, start, caplog):
    record = {
        "scenario": "latency", "device": "0" * 16, "device_name": "another", "clip_seconds": 10,
        "at_once": 1, "chosen": {"seconds": 1, "bytes": 1, "loss": 0},
    }  # fmt: skip
    recipe = Recipe(method="rtn", tuned=record)
    service = await loader.load(replace(CHECKPOINT, recipe=recipe), None)
    assert service.facts["tuned"]["is_this_device"] is False
    assert any("`marlinscribe tune --scenario latency`" in one for one in caplog.messages)


async def test_it_decodes_no_more_windows_than_it_is_told(loader, start):
    await loader.load(CHECKPOINT, None, windows=2)
    assert start.options.windows == 2


async def test_an_engine_that_gives_way_does_so_once_it_is_loaded_and_may_be_silent_for_longer(
    loader, start, engine, monkeypatch
):
    watched = []

    async def watch(_, seconds):
        watched.append(seconds)

    monkeypatch.setattr(app.serving.loading, "end_if_stuck", watch)
    for idle_priority in (False, True):
        await loader.load(CHECKPOINT, None, idle_priority=idle_priority)
        await asyncio.sleep(0)
        assert engine.at_idle_priority == idle_priority
    assert watched == [120, 1200]


async def test_a_start_counts_as_long_as_another_one_will_take(
    loader, start, engine, decoder, monkeypatch
):
    """What this process does once, before its first engine, is no part of it: clients would be told
    to stay away for that long whenever an engine dies."""
    clock = Clock()

    def first_start(*_):
        clock.now += 42  # imports, and a fork server that gets ready
        engine.start_seconds = 5.0  # as VllmEngine.start measures itself
        return LoadedModel(decoder, engine, 8, 0)

    async def warm():
        clock.now += 2

    monkeypatch.setattr(app.serving.loading, "time", SimpleNamespace(monotonic=clock, time=clock))
    monkeypatch.setattr(start, "start", first_start)
    monkeypatch.setattr(decoder, "warm_up", warm)
    await loader.load(CHECKPOINT, None)
    assert engine.start_seconds == 7


async def test_an_engine_that_does_not_start_says_why(loader, start):
    start.fault = EngineFailed("no", "way")
    with pytest.raises(EngineFailed):
        await loader.load(CHECKPOINT, None)


@pytest.mark.parametrize("when", ["warming", "asked", "told"])
async def test_an_engine_that_fails_after_its_start_is_ended(loader, start, engine, when):
    def on_loaded():
        if when == "told":
            raise EngineFailed("nobody listens", "")

    engine.dead = when == "warming"
    engine.kernels = EngineDied("gone") if when == "asked" else {}
    with pytest.raises((EngineDied, EngineFailed)):
        await loader.load(CHECKPOINT, None, on_loaded=on_loaded)
    assert engine.stopped


async def test_an_engine_that_nobody_waits_for_any_more_is_ended_when_it_is_there(
    loader, start, engine
):
    start.go.clear()
    loading = asyncio.create_task(loader.load(CHECKPOINT, None))
    await asyncio.to_thread(start.began.wait, 60)
    loading.cancel()
    await asyncio.wait({loading})
    assert loading.cancelled()
    assert not engine.stopped
    start.go.set()
    assert await asyncio.to_thread(engine.ended.wait, 60)


async def test_the_patient_wait_until_it_is_gone_again(loader, start, engine):
    start.go.clear()
    loading = asyncio.create_task(loader.load(CHECKPOINT, None, patient=True))
    await asyncio.to_thread(start.began.wait, 60)
    loading.cancel()
    await asyncio.sleep(0.05)
    assert not loading.done()
    start.go.set()
    await asyncio.wait({loading})
    assert loading.cancelled()
    assert engine.ended.is_set()


async def test_a_start_that_fails_when_nobody_waits_any_more_is_no_matter(loader, start):
    start.go.clear()
    start.fault = EngineFailed("no", "way")
    loading = asyncio.create_task(loader.load(CHECKPOINT, None))
    await asyncio.to_thread(start.began.wait, 60)
    loading.cancel()
    await asyncio.wait({loading})
    start.go.set()


async def test_an_engine_whose_warm_up_is_broken_off_is_ended(loader, start, engine, decoder):
    decoder.warm = asyncio.Event()
    loading = asyncio.create_task(loader.load(CHECKPOINT, None))
    await decoder.warming.wait()
    loading.cancel()
    await asyncio.wait({loading})
    assert loading.cancelled()
    assert engine.stopped
