"""What holds for all tests."""

import os

import pytest
from hypothesis import settings

from tests.loop_guard import GUARD

# An example that takes long on a loaded machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def loops_are_not_blocked(tmp_path_factory, monkeypatch):
    """Fails a test in which the app kept an event loop waiting for a disk or for a process."""
    fsync = os.fsync

    def guarded(descriptor):
        GUARD.check("a file is written through")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", guarded)
    GUARD.folder, GUARD.caught = str(tmp_path_factory.getbasetemp()), []
    yield GUARD.caught
    caught, GUARD.caught = GUARD.caught, None
    assert not caught, caught
