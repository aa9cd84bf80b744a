"""One real server for all tests that only talk to it; it makes its checkpoint first."""

import shutil

import pytest

from harness.server import DEMO, Server

RECORDINGS = DEMO / "recordings"
MAYDAY = RECORDINGS / "mayday.mp3"
MAYDAY_WORDS = (RECORDINGS / "mayday.txt").read_text("utf-8").strip()


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/engine/" in item.nodeid:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder that outlives a test: what one start makes, the next one finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def jobs_cache(cache, tmp_path_factory):
    """Another, for servers that do jobs: these are one server's at a time. What was made so far is
    there too."""
    own = tmp_path_factory.mktemp("jobs")
    if (cache / "checkpoints").exists():
        shutil.copytree(cache / "checkpoints", own / "checkpoints")
    return own


@pytest.fixture(scope="session")
def server(cache):
    with Server(cache_dir=cache, max_audio_seconds=600) as server:
        yield server
