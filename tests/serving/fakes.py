"""Engines that are started by script, and a context around them."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.source import Source
from app.metrics import Metrics
from app.serving.lifecycle import Lifecycle
from app.serving.loading import LoadedModel
from app.serving.state import Context
from app.settings import Settings


class FakeEngine:
    def __init__(self):
        self.stopped = self.dead = self.stalled = False
        self.windows = self.outputs = 0
        self.oldest, self.responsive = None, False
        self.used, self.start_seconds = 0.0, 0.1

    @property
    def alive(self):
        return not self.stopped and not self.dead

    async def answers(self, seconds):
        return self.responsive

    def stop(self):
        self.stopped = True

    def kill(self):
        self.dead = True


class FakeTranscriber:
    def languages(self):
        return frozenset({"en", "zh"})


class FakeLoader:
    """Loads at once, or when `gate` is set. `faults[name]` is raised in place of a checkpoint of
    that name; `loaded` are the services that were started, in their order."""

    def __init__(self, settings, device="cpu"):
        self.settings, self.device = settings, device
        self.loaded, self.faults, self.gate = [], {}, None
        self.clock = lambda: 0.0
        self.loading = asyncio.Event()
        self.make = lambda checkpoint: FakeTranscriber()

    async def load(self, checkpoint, metrics, *, windows=None, on_loaded=lambda: None, **_):
        self.loading.set()
        if self.gate:
            await self.gate.wait()
        if fault := self.faults.get(checkpoint.source.name):
            raise fault
        on_loaded()
        engine = FakeEngine()
        engine.used = self.clock()
        service = LoadedModel(checkpoint, engine, self.make(checkpoint), {"marlin": 4}, 1)
        self.loaded.append(service)
        return service

    @property
    def running(self):
        """What is alive, by name."""
        return [one.checkpoint.source.name for one in self.loaded if one.engine.alive]


def checkpoint(folder, name, **more):
    """One with next to nothing in it."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text("{}")
    source = Source(name, folder / name, "")
    assert source.config == {}  # which is read once, not where it is served
    return Checkpoint(source, folder / name, **more)


def context(**settings):
    return Context(Settings(**settings), Lifecycle(), Metrics())


@dataclass
class Request:
    """One that is under way until `end` is set; `name` is what answered it."""

    context: Context
    end: asyncio.Event
    name: str = ""

    async def __call__(self):
        async with self.context.place(f"client {id(self)}") as served:
            self.name = served.name
            await self.end.wait()
        return self.name


def request(house, ended=False):
    """One that ends at once where it has `ended` already."""
    one = Request(house, asyncio.Event())
    if ended:
        one.end.set()
    return one


async def passes(service):
    """A check."""


@asynccontextmanager
async def going(*coroutines):
    """Tasks that are cancelled at the end, if they have not ended."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield tasks[0] if len(tasks) == 1 else tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
