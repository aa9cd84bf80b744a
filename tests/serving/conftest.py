"""A house without engines: its loader, its host, and the stages it shows."""

import pytest

from app.serving.lifecycle import Stage
from app.serving.manager import EngineManager
from tests.serving.fakes import FakeLoader, checkpoint, context
from tests.waiting import Clock


@pytest.fixture
def settings():
    """What a test sets; override it."""
    return {}


@pytest.fixture
def house(tmp_path, settings):
    given = {"cache_dir": tmp_path, "drain_seconds": 60, "exchange_wait_seconds": 60}
    return context(**given | settings)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loader(house, clock):
    loader = FakeLoader(house.settings)
    loader.clock = clock
    return loader


@pytest.fixture
def host(house, loader, clock):
    return EngineManager(house, loader, clock)


@pytest.fixture
def make(tmp_path):
    return lambda name: checkpoint(tmp_path, name)


@pytest.fixture
def stages(house):
    """Every stage that is shown, and that nothing is shown as ready that does not serve."""
    shown = []

    def on_status(status):
        shown.append(status.stage)
        if status.stage is Stage.READY:
            assert house.served is not None
            assert house.status().stage is Stage.READY

    house.startup.listen(on_status)
    return shown
