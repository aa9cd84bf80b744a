"""One real server for all tests that only talk to it; it makes its checkpoint first.

A start costs ten seconds of two processors and GPTQ a minute, so GPTQ makes one checkpoint here,
with few clips, and whoever wants another state of a cache begins with a copy. Where the method is
not the point, weights are rounded.
"""

import shutil
from typing import Any

import pytest

from harness.server import DEMO, Server

RECORDINGS = DEMO / "recordings"
MAYDAY = RECORDINGS / "radio.mp3"
# Of four-bit weights, on processors with AVX-512 (AMD's, others') and without.
KERNELS = {"ZentorchWNA16LinearKernel", "CPUWNA16LinearKernel", "DequantizedFloatKernel"}
MAYDAY_WORDS = (RECORDINGS / "radio.txt").read_text("utf-8").strip()

# Whoever finds in a cache what `server` has made must ask for the same.
FEW_CLIPS: dict[str, Any] = {"calibration_samples": 8}
ROUNDED: dict[str, Any] = {"quantization": "rtn"}
# The demo knows 9.5 s of speech in a window, and silence does not count, for it is left out.
SHORT_WINDOWS: dict[str, Any] = {"window_seconds": 12}
AS_THEY_ARE: dict[str, Any] = {"quantization": "none"}
PACKED = "openai/whisper-tiny.en"
READERS = RECORDINGS / "readers"


def copied(cache, folder):
    """A cache in the folder with the checkpoints of another; the folder."""
    shutil.copytree(cache / "checkpoints", folder / "checkpoints")
    return folder


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/engine/" in item.nodeid:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder that outlives a test: what `server` makes, those after it find."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def jobs_cache(cache, shared_server, tmp_path_factory):
    """Another, for servers that do jobs: these are one server's at a time."""
    return copied(cache, tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="session")
def server(shared_server):
    """The one real server; a module may have one of its own under this name."""
    return shared_server


@pytest.fixture(scope="session")
def shared_server(cache):
    with Server(cache_dir=cache, max_audio_seconds=600, **SHORT_WINDOWS, **FEW_CLIPS) as server:
        yield server


@pytest.fixture(scope="session")
def packed_cache(tmp_path_factory):
    """The cache that `packed` fills."""
    return tmp_path_factory.mktemp("packed") / "cache"


@pytest.fixture(scope="session")
def packed(packed_cache):
    """A model that knows people, from a first start where no hub answers: its cache, and the hub's,
    are empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
        patch.setenv("HF_HOME", str(packed_cache.parent / "hub"))
        with Server(model=PACKED, cache_dir=packed_cache, **AS_THEY_ARE) as server:
            yield server
