"""The HTTP layer around a transcriber that needs no engine."""

import asyncio

import pytest
from fastapi.testclient import TestClient

from app.api.context import Context, Served
from app.asr.transcript import Finished, Segment
from app.main import build_app
from app.metrics import Metrics
from app.settings import Settings
from app.startup import Stage, Startup


class FakeTranscriber:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self):
        self.text, self.error, self.delay = " Mayday.", None, 0.0
        self.asked, self.closed = [], 0

    def languages(self):
        return frozenset({"en", "zh"})

    async def transcribe(self, wave, options, on_token=lambda: None):
        self.asked.append((wave, options))
        try:
            await asyncio.sleep(self.delay)
            if self.error:
                raise self.error
            on_token()
            segment = Segment(0, 900, self.text, (5,), 0, 0.0, -0.1, 1.0, 0.01)
            yield segment
            language = options.language or "en"
            yield Finished(language, wave.seconds, self.text.strip(), (segment,))
        finally:
            self.closed += 1


@pytest.fixture
def transcriber():
    return FakeTranscriber()


@pytest.fixture
def context(transcriber):
    context = Context(Settings(max_audio_seconds=10), Startup(), Metrics())
    context.served = Served("mine", 1, transcriber, {"scheme": "W4A16"})
    context.startup.enter(Stage.READY)
    return context


@pytest.fixture
def client(context):
    return TestClient(build_app(context), raise_server_exceptions=False)
