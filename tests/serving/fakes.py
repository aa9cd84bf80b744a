"""Engines that are started by script, and a slot around them."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.checkpoints.checkpoint import Checkpoint
from app.models.base import Capabilities, LoadedModel
from app.serving.state import ModelSlot, ServedModel
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint


class FakeEngine:
    def __init__(self):
        self.stopped = self.dead = self.stalled = False
        self.windows = self.outputs = 0
        self.oldest, self.responsive = None, False
        self.used, self.start_seconds, self.at_idle_priority = 0.0, 0.1, False

    @property
    def alive(self):
        return not self.stopped and not self.dead

    async def answers(self, seconds):
        return self.responsive

    async def linear_kernels(self):
        return {"marlin": 4}

    def set_idle_priority(self):
        self.at_idle_priority = True

    def stop(self):
        self.stopped = True

    def kill(self):
        self.dead = True


class SilentDecoder:
    """Hears nothing."""

    capabilities = Capabilities(frozenset({"en", "zh"}), prompt=True, translate=True)


def served(decoder, checkpoint, engine=None, kernels=None, name=None):
    """A model that serves through a decoder."""
    loaded = LoadedModel(decoder, engine or FakeEngine(), 8, 0)
    return ServedModel(name or checkpoint.source.name, checkpoint, loaded, kernels or {}, 1)


class FakeLoader:
    """Loads at once, or when `gate` is set. `faults[name]` is raised in place of a checkpoint of
    that name; `loaded` are the services that were started, in their order."""

    def __init__(self, settings, device="cpu"):
        self.settings, self.device = settings, device
        self.loaded, self.faults, self.gate = [], {}, None
        self.clock = lambda: 0.0
        self.loading = asyncio.Event()
        self.make = lambda checkpoint: SilentDecoder()

    async def load(self, checkpoint, metrics, *, windows=None, on_loaded=lambda: None, **_):
        self.loading.set()
        if self.gate:
            await self.gate.wait()
        if fault := self.faults.get(checkpoint.source.name):
            raise fault
        on_loaded()
        engine = FakeEngine()
        engine.used = self.clock()
        model = served(self.make(checkpoint), checkpoint, engine, {"marlin": 4})
        await asyncio.to_thread(lambda: model.facts)  # as the real one does
        self.loaded.append(model)
        return model

    @property
    def running(self):
        """What is alive, by name."""
        return [one.checkpoint.source.name for one in self.loaded if one.alive]


def checkpoint(folder, name, **more):
    """One with next to nothing in it."""
    (folder / name).mkdir(exist_ok=True)
    write_checkpoint(folder / name)
    source = Source(name, folder / name, "")
    assert source.config  # which is read once, not where it is served
    return Checkpoint(source, folder / name, **more)


@dataclass
class Request:
    """One that is under way until `end` is set; `name` is what answered it."""

    slot: ModelSlot
    end: asyncio.Event
    name: str = ""

    async def __call__(self):
        async with self.slot.place(f"client {id(self)}") as served:
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
