"""Jobs in the background, over HTTP, with a decoder that needs no engine."""

import subprocess
import time
from contextlib import asynccontextmanager, contextmanager

import pytest
from fastapi.testclient import TestClient

from app.api.batch_reader import BatchReader
from app.background import BackgroundJobs, Batches
from app.main import build_app
from tests.api.conftest import (  # noqa: F401  fixtures
    FakeDecoder,
    context,
    decoders,
    transcriber,
)

SPEECH = "/v1/audio/transcriptions"


@pytest.fixture
def settings(tmp_path):
    """What a module's tests set; override it there."""
    return {"cache_dir": tmp_path / "cache"}


@asynccontextmanager
async def both(context):  # noqa: F811
    async with context.background.working(), context.batches.working():
        yield


def app_of(context, clock=time.time):  # noqa: F811
    """The app of a server that does its jobs while its lifespan lasts. clock: by which batches
    expire."""
    app = build_app(context)
    context.background = BackgroundJobs(
        context.settings, context.state, context.transcriptions, context.metrics, 0.01
    )
    context.batches = Batches(
        context.settings, context.background, BatchReader(context), context.metrics, clock=clock
    )
    app.router.lifespan_context = lambda _: both(context)
    return app


@contextmanager
def working(context, **how):  # noqa: F811
    """A client of a server that does its jobs. One after another is a server that is restarted."""
    with TestClient(app_of(context, **how), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(context):  # noqa: F811
    with working(context) as client:
        yield client


def submit(client, recording, filename="a.wav", headers=None, **fields):
    files = {"file": (filename, recording)}
    data = {"background": "true"} | fields
    return client.post(SPEECH, files=files, data=data, headers=headers)


def over(client, job, headers=None, seconds=30):
    """The job once it is over."""
    return until(client, job, {"completed", "failed"}, headers, seconds)


def until(client, job, statuses, headers=None, seconds=30):
    """The job once it has one of these statuses."""

    def found():
        body = client.get(f"{SPEECH}/{job}", headers=headers).json()
        return body if body["status"] in statuses else None

    return wait_until(found, seconds)


def copied(folder, target):
    """Copy what is on the disk while the server works on it, as a kill would leave it; a file may
    go meanwhile."""
    subprocess.run(["cp", "-r", folder, target], stderr=subprocess.DEVNULL, check=False)
    assert target.exists()


def wait_until(found, seconds=30):
    """What `found` returns once that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.01)
    raise AssertionError("it never came")
