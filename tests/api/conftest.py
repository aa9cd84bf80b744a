"""The HTTP layer around a transcriber that needs no engine."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from http.client import HTTPResponse

import pytest
import uvicorn
from fastapi.testclient import TestClient

from app.main import build_app
from app.metrics import Metrics
from app.models.base import Segment, SegmentEvent, TokenLogprob, WindowFigures
from app.serving.lifecycle import Lifecycle, Stage
from app.serving.state import Context, ServedModel
from app.settings import Settings
from app.transcription.results import Transcript, join


class FakeTranscriber:
    """Says `texts`, a second each, and remembers what it was asked.

    Each text comes after `delay` seconds, and not before `gate` is open, where there is one;
    `error`, if set, comes before text number `fails_at`. `told` counts the texts that were said.
    """

    def __init__(self):
        self.texts, self.delay = [" Mayday."], 0.0
        self.error, self.fails_at = None, 0
        self.asked, self.told, self.closed = [], 0, 0
        self.gate = None

    def languages(self):
        return frozenset({"en", "zh"})

    async def transcribe(self, wave, options, on_token=lambda: None, turn=None):
        self.asked.append((wave, options))
        spoken = []
        try:
            for number, text in enumerate(self.texts):
                async with turn(wave.seconds / len(self.texts)):
                    await asyncio.sleep(self.delay)
                    if self.gate:
                        await self.gate.wait()
                if self.error and number == self.fails_at:
                    raise self.error
                on_token()
                logprobs = (TokenLogprob(text.encode(), -0.5),) if options.logprobs else ()
                start = 1000 * number
                spoken.append(SegmentEvent(start, start + 900, text, (5,), logprobs))
                self.told += 1
                yield spoken[-1]
            figures = WindowFigures(0, options.temperature, -0.1, 1.0, 0.01)
            yield Transcript(
                (options.languages or ("en",))[0],
                wave.seconds,
                join(self.texts),
                tuple(Segment(one, figures) for one in spoken),
                translated=options.translate,
            )
        finally:
            self.closed += 1


@pytest.fixture
def transcriber():
    return FakeTranscriber()


@pytest.fixture
def settings():
    """What a module's tests set; override it there."""
    return {}


@pytest.fixture
def context(transcriber, settings):
    context = Context(Settings(max_audio_seconds=10, **settings), Lifecycle(), Metrics())
    context.served = ServedModel("mine", 1, transcriber, {"scheme": "W4A16"})
    context.startup.enter(Stage.READY)
    return context


@pytest.fixture
def client(context):
    return TestClient(build_app(context), raise_server_exceptions=False)


@contextmanager
def serving(app):
    """The app behind a real socket, in a thread: in-process transports join streamed bodies."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def answer_before_the_body(url, *headers, content=b""):
    """What comes back where the headers promise a body of which only `content` is sent."""
    head = ["POST /v1/audio/transcriptions HTTP/1.1", "host: x", *headers]
    head.append("content-type: multipart/form-data; boundary=x")
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 60) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + content)
        return whole_answer(connection)


def whole_answer(connection):
    """Head and body, however many packets they come in."""
    answer = HTTPResponse(connection)
    answer.begin()
    head = f"HTTP/1.1 {answer.status}\r\n{answer.headers}".encode()
    return head + answer.read()


@pytest.fixture
def url(context):
    with serving(build_app(context)) as url:
        yield url
