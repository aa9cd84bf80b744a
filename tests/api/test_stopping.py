"""A service that is told to end finishes what it can, and answers what it cannot."""

import asyncio
import json
import signal
import socket
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import httpx
import pytest
import uvicorn

import app.commands.serve
from app.errors import DiskFull
from app.main import build_app, drain
from app.serving.lifecycle import Stage
from tests.sound import encode, tone
from tests.waiting import until

pytestmark = pytest.mark.anyio

SOON = {"drain_seconds": 0.2}
ROUTE = 'route="/v1/audio/transcriptions"'


class Server(app.commands.serve._Server):
    """One whose signals are the test's."""

    @contextmanager
    def capture_signals(self):
        yield

    def signal(self):
        self.handle_exit(signal.SIGTERM, None)


class House:
    """A server in this loop, a client, and the server's task, which ends with it."""

    def __init__(self, context, server, client, task):
        self.context, self.server, self.client, self.task = context, server, client, task

    def ask(self, **fields):
        post = self.client.post("/v1/audio/transcriptions", data=fields,
                                files={"file": encode(tone(1))})  # fmt: skip
        return asyncio.create_task(post)

    @property
    def decoder(self):
        return self.context.state.default.model.loaded.decoder

    async def under_way(self, **fields):
        """A transcription that has reached the engine."""
        asked = len(self.decoder.asked)
        task = self.ask(**fields)
        await until(lambda: len(self.decoder.asked) > asked)
        return task


@asynccontextmanager
async def serving(context):
    built = build_app(context)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(built, log_config=None, lifespan="off", timeout_graceful_shutdown=5)
        server = Server(config, partial(drain, built))
        task = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield House(context, server, client, task)
        server.should_exit = True
        async with asyncio.timeout(60):
            await task


@pytest.fixture
async def house(context):
    async with serving(context) as house:
        yield house


def assert_shutting_down(answer):
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert answer.json()["error"]["type"] == "service_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]


async def test_what_is_under_way_finishes_and_nobody_else_is_let_in(house, transcriber):
    transcriber.gate = asyncio.Event()
    first = await house.under_way()
    house.server.signal()
    await until(lambda: house.context.state.default.lifecycle.status.stage is Stage.STOPPING)
    ready = await house.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
    assert (await house.client.get("/health/live")).status_code == 200
    assert_shutting_down(await house.ask())
    transcriber.gate.set()
    assert (await first).status_code == 200
    async with asyncio.timeout(60):
        await house.task
    assert transcriber.closed == 1


@pytest.mark.parametrize("settings", [SOON])
async def test_what_does_not_finish_is_answered(house, transcriber):
    transcriber.delay = 3600
    several = [await house.under_way() for _ in range(3)]
    house.server.signal()
    for answer in await asyncio.gather(*several):
        assert_shutting_down(answer)
    async with asyncio.timeout(60):
        await house.task
    assert transcriber.closed == 3
    told = house.context.metrics.exposition().decode()
    assert (
        'requests_refused_total{code="shutting_down",route="/v1/audio/transcriptions"} 3.0' in told
    )
    assert 'route="/v1/audio/transcriptions",status="503"} 3.0' in told


@pytest.mark.parametrize("settings", [SOON])
async def test_a_stream_that_does_not_finish_ends_with_an_error(house, transcriber):
    transcriber.texts, transcriber.delay = [" Mayday."] * 1000, 0.05
    stream = await house.under_way(stream="true")
    await until(lambda: transcriber.told)
    house.server.signal()
    answer = await stream
    assert answer.status_code == 200
    *events, last = [json.loads(f[6:]) for f in answer.text.split("\n\n") if f.startswith("data")]
    assert events[0]["type"] == "transcript.text.delta"
    assert last["error"]["code"] == "shutting_down"
    assert f'stream_errors_total{{code="shutting_down",{ROUTE}}} 1.0' in (
        house.context.metrics.exposition().decode()
    )


@pytest.mark.parametrize("settings", [SOON])
async def test_an_upload_that_does_not_finish_is_answered(house):
    async def slowly():
        yield b"--x\r\n"
        await asyncio.sleep(3600)

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "1000"}
    post = house.client.post("/v1/audio/transcriptions", content=slowly(), headers=headers)
    upload = asyncio.create_task(post)
    await until(lambda: house.context.state.default.admission.under_way)
    house.server.signal()
    async with asyncio.timeout(60):
        await house.task
    upload.cancel()
    await asyncio.wait({upload})


@pytest.mark.parametrize("stage", [Stage.EXCHANGING, Stage.STOPPING])
async def test_an_upload_that_was_let_in_is_answered_whatever_begins_meanwhile(house, stage):
    """Whatever begins waits for it."""
    request = house.client.build_request(
        "POST", "/v1/audio/transcriptions", files={"file": encode(tone(1))}
    )
    body, begun = request.read(), asyncio.Event()

    async def slowly():
        yield body[:100]
        await begun.wait()
        yield body[100:]

    post = house.client.post(request.url, content=slowly(), headers=request.headers)
    upload = asyncio.create_task(post)
    await until(lambda: house.context.state.default.admission.under_way)
    house.context.state.default.lifecycle.enter(stage)
    begun.set()
    assert (await upload).status_code == 200


async def test_who_waits_for_an_exchange_is_told_at_once(house):
    house.context.state.default.lifecycle.enter(Stage.EXCHANGING)
    waits = house.ask()
    await until(lambda: house.context.state.default.admission.waiters)
    house.server.signal()
    assert_shutting_down(await waits)


@pytest.mark.parametrize("settings", [SOON])
async def test_a_failed_start_is_still_shown_as_one(house):
    error = DiskFull("The disk is full.", "Free space.")
    house.context.state.default.lifecycle.enter(Stage.FAILED, error=error)
    house.server.should_exit = True
    async with asyncio.timeout(60):
        await house.task
    assert house.context.state.default.lifecycle.status.error is error


async def test_told_twice_it_ends_at_once(house, transcriber, monkeypatch):
    ended = []
    monkeypatch.setattr("app.commands.serve.os._exit", ended.append)
    transcriber.delay = 1
    first = await house.under_way()
    house.server.signal()
    assert ended == []
    house.server.signal()
    assert ended == [130]
    await first


async def test_a_client_that_leaves_is_no_refusal(house, transcriber):
    transcriber.delay = 3600
    task = await house.under_way()
    task.cancel()
    await until(lambda: transcriber.closed)
    await until(lambda: not house.context.state.default.admission.under_way)
    told = house.context.metrics.exposition().decode()
    assert (
        'requests_refused_total{code="shutting_down",route="/v1/audio/transcriptions"} 0.0' in told
    )
