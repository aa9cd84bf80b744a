"""A text codec and a decoder by script, around the demo's token ids."""

import asyncio
from contextlib import aclosing

import numpy as np

from app.environment import DEMO
from app.models.base import LanguageDetection, LoadedModel
from app.models.whisper_vllm.decoder import Step, WhisperDecoder
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.alignment import CrossAttention
from app.transcription.pipeline import transcribe
from app.transcription.planning import plan

T = SpecialTokens.load(DEMO / "marine-radio")
TS, END = T.first_timestamp, T.end_of_text


class FakeText:
    """Token 7 is the word " w7"."""

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids if i < END)

    def encode(self, text):
        return [int(word.strip("w.,")) for word in text.split()]

    def content(self, token):
        return f" w{token}".encode()


def said(*tokens, languages=None, no_speech=0.0, logprob=-0.1, ended="text"):
    """The steps of a window: its tokens one by one, then an end."""
    first = LanguageDetection(languages or {"en": 1.0}, no_speech)
    steps = [Step((), first)]
    steps += [Step(((token, logprob),)) for token in tokens]
    end = ((END, logprob),) if ended == "text" else ()
    return [*steps, Step(end, ended=ended)]


def sentence(number, **kwargs):
    """A closed segment of one second that holds the word 10 + number."""
    return said(TS, 10 + number, TS + 50, **kwargs)


class FakeDecoder:
    """Decodes by script, one answer a window in the order they ask; counts what is in flight.

    `answer(number)` is a list of steps or an exception; `delays` are seconds before each.
    """

    def __init__(self, answer, delays=()):
        self.answer, self.delays = answer, list(delays)
        self.in_flight = self.most = 0
        self.asks = []
        self.closed = 0

    async def decode(self, ask, max_tokens=None):
        number = len(self.asks)
        self.asks.append(ask)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.delays[number] if self.delays else 0)
            answer = self.answer(number)
            if isinstance(answer, Exception):
                raise answer
            for step in answer:
                yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.closed += 1
            raise
        finally:
            self.in_flight -= 1

    async def attention(self, ask, count):
        """Attention that goes through the window evenly."""
        assert ask.recorded, "nobody asked for words"
        frames = max(1, ask.window.duration_ms // 20)
        keys = 100 * np.eye(frames, dtype=np.float32)
        spans = np.array_split(keys, count)
        return CrossAttention(np.stack([span.sum(0) for span in spans])[None], keys[None])


def loaded(decoder, tokens=T, slots=8):
    """A model whose engine is a FakeDecoder."""
    return LoadedModel(WhisperDecoder(decoder, tokens, FakeText(), lags=(0,)), decoder, slots, 0)


async def transcribed(model, wave, options, cutting):
    """A recording's events, from its cutting on."""
    planned = await plan(wave, options, cutting)
    async with aclosing(transcribe(model, planned, options)) as events:
        async for event in events:
            yield event
