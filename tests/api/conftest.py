"""The HTTP layer around a transcriber that needs no engine."""

import asyncio
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPResponse

import pytest
import uvicorn
from fastapi.testclient import TestClient

from app.admission.requests import DECODES_AT_ONCE
from app.api.context import Context
from app.audio.pool import DecoderPool
from app.checkpoints.checkpoint import Checkpoint
from app.commands.connections import BoundedHttpProtocol
from app.main import build_app
from app.metrics import Metrics
from app.models.base import (
    Capabilities,
    LanguageDetection,
    Segment,
    TokenLogprob,
    WindowFigures,
    WindowResult,
    Word,
)
from app.serving.lifecycle import Stage
from app.settings import Settings
from app.sources.source import Source
from tests.serving.fakes import served


class FakeDecoder:
    """Says `texts`, a second each, and remembers what it was asked.

    Each text comes after `delay` seconds, and not before `gate` is open, where there is one;
    `error`, if set, comes before text number `fails_at`. `told` counts the texts that were said.
    A text's words share its time, each with a probability of 0.5.
    """

    capabilities = Capabilities(
        frozenset({"en", "zh"}), prompt=True, translate=True, word_times=True
    )

    def __init__(self):
        self.texts, self.delay = [" Mayday."], 0.0
        self.error, self.fails_at = None, 0
        self.asked, self.told, self.closed = [], 0, 0
        self.gate = None

    async def decode_window(self, request, on_token=lambda: None):
        self.asked.append(request)
        figures = WindowFigures(0, request.temperature, -0.1, 1.0, 0.01)
        language = (request.languages or ("en",))[0]
        result = WindowResult(request, LanguageDetection({language: 1.0}, 0.01), figures)
        try:
            for number, text in enumerate(self.texts):
                await asyncio.sleep(self.delay)
                if self.gate:
                    await self.gate.wait()
                if self.error and number == self.fails_at:
                    raise self.error
                on_token()
                logprobs = (TokenLogprob(text.encode(), -0.5),) if request.logprobs else ()
                start = 1000 * number
                segment = Segment(start, start + 900, text, (5,), logprobs)
                result = replace(result, closed=(*result.closed, segment))
                self.told += 1
                yield result
            yield replace(result, ended="text")
        finally:
            self.closed += 1

    async def align(self, result, segments):
        return tuple(replace(one, words=tuple(words_of(one))) for one in segments)


def words_of(segment):
    texts = re.findall(r"\s*\S+", segment.text)
    length = (segment.end_ms - segment.start_ms) // len(texts)
    for number, text in enumerate(texts):
        start = segment.start_ms + number * length
        yield Word(start, start + length, text, 0.5)


@pytest.fixture
def transcriber():
    return FakeDecoder()


@pytest.fixture
def settings():
    """What a module's tests set; override it there."""
    return {}


@pytest.fixture(scope="session")
def decoders():
    """Children take a moment to start, and would end with the thread of a test's event loop."""
    pool = DecoderPool(DECODES_AT_ONCE)
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def context(transcriber, settings, tmp_path, decoders):
    (tmp_path / "config.json").write_text("{}")
    context = Context(
        Settings(**{"max_audio_seconds": 10, "models": "mine=here", "vad": False} | settings),
        Metrics(),
    )
    context.transcriptions.decoders = decoders
    slot = context.state.default
    slot.model = served(transcriber, Checkpoint(Source("mine", tmp_path, ""), tmp_path))
    assert slot.model.facts  # read before there is a loop
    slot.admission.resize(8)
    slot.lifecycle.enter(Stage.READY)
    return context


@pytest.fixture
def client(context):
    return TestClient(build_app(context), raise_server_exceptions=False)


@contextmanager
def serving(app, protocol=BoundedHttpProtocol, lifespan="off"):
    """The app behind a real socket, in a thread: in-process transports join streamed bodies."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=protocol, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=1
        )
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
