"""Windows decoded together, told in order, given up when nobody listens."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from app.asr.decoding import WhisperTranscriber
from app.asr.segments import Decoded
from app.asr.tokens import SpecialTokens
from app.asr.transcript import Finished, Options, Segment
from app.audio.waveform import Waveform
from app.errors import EngineDied
from app.settings import DEMO
from tests.sound import tone

T = SpecialTokens.load(DEMO / "marine-radio")
TS = T.first_timestamp


class FakeDecoder:
    """Decodes by script, one answer a window in the order they ask; counts what is in flight."""

    def __init__(self, answer, delays=()):
        self.answer, self.delays = answer, list(delays)
        self.in_flight = self.most = self.asked = 0
        self.cancelled = 0

    async def decode(self, window, rules, temperature, on_token):
        number, self.asked = self.asked, self.asked + 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.delays[number] if self.delays else 0)
            on_token()
            answer = self.answer(number)
            if isinstance(answer, Exception):
                raise answer
            return answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def said(number, languages=None, no_speech=0.0, logprob=-0.1):
    tokens = (TS, 10 + number, TS + 50)
    return Decoded(tokens, languages or {"en": 1.0}, no_speech, logprob, 0.0)


def transcriber(decoder, in_flight=16, window_seconds=2):
    return WhisperTranscriber(
        decoder, T, lambda ids: " ".join(f" w{i}" for i in ids if i < T.end_of_text),
        window_seconds=window_seconds, in_flight=in_flight,
    )  # fmt: skip


async def collect(decoder, seconds=9.0, options=None, **kwargs):
    wave = Waveform(tone(seconds))
    return [e async for e in transcriber(decoder, **kwargs).transcribe(wave, options or Options())]


pytestmark = pytest.mark.anyio


async def test_segments_come_in_order_however_their_windows_finish():
    decoder = FakeDecoder(said, delays=[0.05, 0.04, 0.03, 0.02, 0.01, 0.0, 0.0, 0.0])
    *segments, finished = await collect(decoder)
    assert [s.start_ms for s in segments] == sorted(s.start_ms for s in segments)
    assert finished.text == " ".join(f"w{10 + n}" for n in range(decoder.asked))
    assert isinstance(finished, Finished)
    assert finished.duration_s == 9.0


async def test_all_windows_are_in_flight_together():
    decoder = FakeDecoder(said)
    await collect(decoder)
    assert decoder.most == decoder.asked > 4


async def test_no_more_windows_are_in_flight_than_allowed():
    decoder = FakeDecoder(said)
    await collect(decoder, in_flight=2)
    assert decoder.most == 2
    assert decoder.asked > 4


async def test_closing_the_generator_cancels_what_is_in_flight():
    decoder = FakeDecoder(said, delays=[0, 60, 60, 60, 60, 60, 60])
    events = transcriber(decoder).transcribe(Waveform(tone(9)), Options())
    async with aclosing(events):
        assert isinstance(await anext(events), Segment)
    assert decoder.in_flight == 0
    assert decoder.cancelled > 2


async def test_the_engines_death_is_raised_and_nothing_is_left_in_flight():
    decoder = FakeDecoder(lambda n: EngineDied("gone") if n == 1 else said(n))
    with pytest.raises(EngineDied):
        await collect(decoder)
    assert decoder.in_flight == 0


async def test_the_language_is_what_most_speech_is_in_not_what_the_first_window_is():
    def answer(number):
        return said(number, {"en": 0.9, "zh": 0.1} if number == 0 else {"en": 0.1, "zh": 0.9})

    assert (await collect(FakeDecoder(answer)))[-1].language == "zh"


async def test_windows_without_speech_have_no_say_in_the_language():
    def answer(number):
        if number < 4:
            return said(number, {"zh": 1.0}, no_speech=0.99)
        return said(number, {"en": 1.0})

    assert (await collect(FakeDecoder(answer)))[-1].language == "en"


async def test_the_language_asked_for_is_the_language_told():
    finished = (await collect(FakeDecoder(said), options=Options(language="zh")))[-1]
    assert finished.language == "zh"


async def test_what_the_model_calls_silence_and_is_unsure_of_is_left_out():
    def answer(number):
        return said(number, no_speech=0.9, logprob=-1.5) if number else said(number)

    assert (await collect(FakeDecoder(answer)))[-1].text == "w10"


async def test_sure_words_are_kept_even_where_silence_is_likely():
    assert (await collect(FakeDecoder(lambda n: said(n, no_speech=0.9))))[-1].text


async def test_a_recording_of_zeros_still_finishes():
    wave = Waveform(np.zeros(16_000, np.float32))
    events = [e async for e in transcriber(FakeDecoder(said)).transcribe(wave, Options())]
    assert isinstance(events[-1], Finished)


async def test_an_english_only_checkpoint_knows_english():
    english = SpecialTokens(**{**T.__dict__, "languages": {}})
    only = WhisperTranscriber(FakeDecoder(said), english, str, window_seconds=30, in_flight=1)
    assert only.languages() == {"en"}
