import os

import pytest

from tests.loop_guard import GUARD


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
