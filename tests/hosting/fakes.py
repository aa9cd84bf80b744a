"""Engines that are started by script, and a context around them."""

import asyncio
from dataclasses import dataclass

from app.api.context import Context
from app.checkpoints.source import Source
from app.metrics import Metrics
from app.quantization.making import Checkpoint
from app.serving.loading import Service
from app.settings import Settings
from app.startup import Startup


class FakeEngine:
    def __init__(self):
        self.stopped = self.dead = False

    @property
    def alive(self):
        return not self.stopped and not self.dead

    def stop(self):
        self.stopped = True


class FakeTranscriber:
    def languages(self):
        return frozenset({"en", "zh"})


class FakeLoader:
    """Loads at once, or when `gate` is set. `faults[name]` is raised in place of a checkpoint of
    that name; `loaded` are the services that were started, in their order."""

    def __init__(self, settings, device="cpu"):
        self.settings, self.device = settings, device
        self.loaded, self.faults, self.gate = [], {}, None
        self.loading = asyncio.Event()
        self.make = lambda checkpoint: FakeTranscriber()

    async def load(self, checkpoint, metrics, *, windows=None, on_loaded=lambda: None, **_):
        self.loading.set()
        if self.gate:
            await self.gate.wait()
        if fault := self.faults.get(checkpoint.source.name):
            raise fault
        on_loaded()
        service = Service(checkpoint, FakeEngine(), self.make(checkpoint), {"marlin": 4}, 1)
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
    return Checkpoint(Source(name, folder / name, ""), folder / name, **more)


def context(**settings):
    return Context(Settings(**settings), Startup(), Metrics())


@dataclass
class Request:
    """One that is under way until `end` is set; `name` is what answered it."""

    context: Context
    end: asyncio.Event
    name: str = ""

    async def __call__(self):
        served = await self.context.admitted()
        self.context.enter()
        try:
            self.name = served.name
            await self.end.wait()
        finally:
            self.context.leave()
        return served.name
