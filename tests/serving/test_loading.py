"""An engine that is started and not wanted any more is ended, whenever that is."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

import app.serving.loading
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.source import Source
from app.errors import EngineDied, EngineFailed
from app.metrics import Metrics
from app.serving.loading import Loader
from app.settings import DEMO, Settings
from tests.serving.fakes import FakeEngine
from tests.waiting import Clock

pytestmark = pytest.mark.anyio

CHECKPOINT = Checkpoint(Source("mine", DEMO / "marine-radio", ""), DEMO / "marine-radio")


class Engine(FakeEngine):
    """One that says which kernels it has, or raises it."""

    def __init__(self):
        super().__init__()
        self.ended, self.kernels = threading.Event(), {"marlin": 4}
        self.gave_way = False

    def stop(self):
        super().stop()
        self.ended.set()

    def set_idle_priority(self):
        self.gave_way = True

    async def linear_kernels(self):
        if isinstance(self.kernels, Exception):
            raise self.kernels
        return self.kernels


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def start(monkeypatch, engine):
    """What the loader starts: `began` once it does, ready when `go` is set."""

    class Start:
        began, go, plan, fault = threading.Event(), threading.Event(), None, None

        def __call__(self, loader, checkpoint, tokens, plan, metrics):
            self.plan = plan
            self.began.set()
            assert self.go.wait(60)
            if self.fault:
                raise self.fault
            return engine

    async def warm(engine, prompt):
        if engine.dead:
            raise EngineDied("gone")

    one = Start()
    one.go.set()
    monkeypatch.setattr(Loader, "_start", lambda *given: one(*given))
    monkeypatch.setattr(app.serving.loading, "_warm", warm)
    return one


@pytest.fixture
def loader():
    return Loader(Settings(kv_cache_bytes=2**28), "cpu")


async def test_a_loaded_checkpoint_says_what_it_is(loader, start, engine):
    stages = []
    service = await loader.load(CHECKPOINT, Metrics(), on_loaded=lambda: stages.append("loaded"))
    assert (service.engine, service.kernels, stages) == (engine, {"marlin": 4}, ["loaded"])
    facts = service.describe()
    assert facts["weight_bytes"] == (DEMO / "marine-radio" / "model.safetensors").stat().st_size
    assert facts["languages"]
    assert (facts["source"], facts["fingerprint"]) == ("mine", None)
    assert engine.alive


async def test_it_decodes_no_more_windows_than_it_is_told(loader, start):
    await loader.load(CHECKPOINT, None, windows=2)
    assert start.plan.windows == 2


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
        assert engine.gave_way == idle_priority
    assert watched == [120, 1200]


async def test_a_start_counts_as_long_as_another_one_will_take(loader, start, engine, monkeypatch):
    """What this process does once, before its first engine, is no part of it: clients would be told
    to stay away for that long whenever an engine dies."""
    clock = Clock()

    def first_start(*_):
        clock.now += 42  # imports, and a fork server that gets ready
        engine.start_seconds = 5.0  # as VllmEngine.start measures itself
        return engine

    async def warm(*_):
        clock.now += 2

    monkeypatch.setattr(app.serving.loading, "time", SimpleNamespace(monotonic=clock, time=clock))
    monkeypatch.setattr(Loader, "_start", first_start)
    monkeypatch.setattr(app.serving.loading, "_warm", warm)
    service = await loader.load(CHECKPOINT, None)
    assert service.engine.start_seconds == 7


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


async def test_an_engine_whose_warm_up_is_broken_off_is_ended(loader, start, engine, monkeypatch):
    warming = asyncio.Event()

    async def warm(engine, prompt):
        warming.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(app.serving.loading, "_warm", warm)
    loading = asyncio.create_task(loader.load(CHECKPOINT, None))
    await warming.wait()
    loading.cancel()
    await asyncio.wait({loading})
    assert loading.cancelled()
    assert engine.stopped
