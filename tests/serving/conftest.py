"""A slot without an engine: its loader, its manager, and the stages it shows."""

import pytest

from app.metrics import Metrics
from app.serving.lifecycle import Stage
from app.serving.manager import EngineManager
from app.serving.state import ServiceState
from app.settings import Settings
from tests.serving.fakes import FakeLoader, checkpoint
from tests.waiting import Clock


@pytest.fixture
def settings():
    """What a test sets; override it."""
    return {}


@pytest.fixture
def configured(tmp_path, settings):
    given = {"cache_dir": tmp_path, "drain_seconds": 60, "exchange_wait_seconds": 60}
    return Settings(**{"models": "mine=here"} | given | settings)


@pytest.fixture
def house(configured):
    return ServiceState(configured, Metrics()).default


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loader(configured, clock):
    loader = FakeLoader(configured)
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
            assert house.model is not None
            assert house.status().stage is Stage.READY

    house.lifecycle.listen(on_status)
    return shown
