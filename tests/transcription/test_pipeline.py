"""Windows decoded together, told in order, given up when nobody listens."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, Waveform
from app.errors import EngineDied
from app.models.base import Segment
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.cutting import Cutting
from app.speech.stretches import Stretch, VadOptions
from app.transcription.results import Joiner, Options, Transcript
from tests.sound import silence, tone
from tests.speech.fakes import told_by
from tests.transcription.fakes import TS, FakeDecoder, T, loaded, said, sentence, transcribed


def events_of(decoder, wave, options=None, slots=8, window_seconds=2, tokens=T):
    model = loaded(decoder, tokens, slots)
    return transcribed(model, wave, options or Options(), Cutting(window_seconds))


async def collect(decoder, seconds=9.0, **kwargs):
    return [event async for event in events_of(decoder, Waveform.of(tone(seconds)), **kwargs)]


pytestmark = pytest.mark.anyio


async def test_segments_come_in_order_however_their_windows_finish():
    decoder = FakeDecoder(sentence, delays=[0.05, 0.04, 0.03, 0.02, 0.01, 0.0, 0.0, 0.0])
    *segments, finished = await collect(decoder)
    assert [s.start_ms for s in segments] == sorted(s.start_ms for s in segments)
    assert finished.text == " ".join(f"w{10 + n}" for n in range(len(decoder.asks)))
    assert isinstance(finished, Transcript)
    assert finished.duration_s == 9.0


async def test_what_was_told_is_what_the_end_holds():
    *events, finished = await collect(FakeDecoder(sentence))
    assert events == [replace(segment, figures=None) for segment in finished.segments]


# What a decoder does: ends well, early or nowhere, repeats itself, or is unsure.
WAYS = [
    said(TS, 11, TS + 50, TS + 60, 12, TS + 99),
    said(TS, 11, TS + 50, TS + 60, 12),
    said(TS, 11, TS + 50, TS + 50, 12, ended="limit"),
    said(TS, 11, TS + 20),
    said(TS, *[7] * 200),
    said(TS, 11, TS + 50, TS + 50, *[7] * 200),
    said(TS, 11, no_speech=0.9, logprob=-1.5),
    said(TS, 11, no_speech=0.9),
    said(TS),
]


@pytest.mark.parametrize("prompt", ["", "w3"])
@pytest.mark.parametrize("seed", range(20))
async def test_joined_deltas_are_the_text_whatever_a_decoder_does(seed, prompt):
    choose = random.Random(seed)
    decoder = FakeDecoder(lambda number: choose.choice(WAYS))
    *told, finished = await collect(decoder, 12.0, options=Options(prompt=prompt))
    joiner = Joiner()
    assert "".join(joiner.add(segment.text) for segment in told) == finished.text
    assert [plain(one) for one in told] == [plain(one) for one in finished.segments]


def plain(segment):
    return replace(segment, figures=None)


async def test_a_segment_is_told_while_its_window_is_still_decoding():
    waits = asyncio.Event()

    class Slow(FakeDecoder):
        async def decode(self, ask, max_tokens=None):
            async for step in super().decode(ask):
                yield step
                if step.sampled and step.sampled[0][0] == T.first_timestamp + 50:
                    await waits.wait()

    events = events_of(Slow(sentence), Waveform.of(tone(3)), window_seconds=30)
    async with aclosing(events):
        assert (await asyncio.wait_for(anext(events), 5)).text == " w10"
        assert not waits.is_set()


async def test_all_windows_are_in_flight_together():
    decoder = FakeDecoder(sentence)
    await collect(decoder)
    assert decoder.most == len(decoder.asks) > 4


async def test_no_more_windows_are_in_flight_than_allowed():
    decoder = FakeDecoder(sentence)
    await collect(decoder, slots=1)
    assert decoder.most == 2  # one more is at hand while results are put together
    assert len(decoder.asks) > 4


async def test_closing_the_generator_ends_what_is_in_flight():
    decoder = FakeDecoder(sentence, delays=[0, 60, 60, 60, 60, 60, 60])
    events = events_of(decoder, Waveform.of(tone(9)))
    async with aclosing(events):
        assert isinstance(await anext(events), Segment)
    assert decoder.in_flight == 0
    assert decoder.closed > 2


async def test_the_engines_death_is_raised_and_nothing_is_left_in_flight():
    decoder = FakeDecoder(lambda n: EngineDied("gone") if n == 1 else sentence(n))
    with pytest.raises(EngineDied):
        await collect(decoder)
    assert decoder.in_flight == 0


async def test_the_language_is_what_most_speech_is_in_not_what_the_first_window_is():
    def answer(number):
        return sentence(
            number, languages={"en": 0.9, "zh": 0.1} if number == 0 else {"en": 0.1, "zh": 0.9}
        )

    assert (await collect(FakeDecoder(answer)))[-1].language == "zh"


async def test_windows_without_speech_have_no_say_in_the_language():
    def answer(number):
        if number < 4:
            return sentence(number, languages={"zh": 1.0}, no_speech=0.99)
        return sentence(number)

    assert (await collect(FakeDecoder(answer)))[-1].language == "en"


async def test_the_language_asked_for_is_the_language_told():
    decoder = FakeDecoder(sentence)
    finished = (await collect(decoder, options=Options(languages=("zh",))))[-1]
    assert finished.language == "zh"
    assert {ask.rules.languages for ask in decoder.asks} == {("zh",)}


async def test_of_several_languages_asked_for_the_likeliest_is_told():
    decoder = FakeDecoder(lambda n: sentence(n, languages={"en": 0.2, "zh": 0.8}))
    finished = (await collect(decoder, options=Options(languages=("en", "zh"))))[-1]
    assert finished.language == "zh"


async def test_every_window_is_given_the_prompt():
    decoder = FakeDecoder(lambda n: said(TS, n, TS + 100))  # two seconds, to the window's end
    await collect(decoder, options=Options(prompt="w3 w4", keywords=("w5",)))
    assert len(decoder.asks) > 4
    assert {ask.prompt for ask in decoder.asks} == {(T.start_of_previous, 3, 4, 5, T.start)}


async def test_translation_is_asked_for_and_told():
    decoder = FakeDecoder(sentence)
    finished = (await collect(decoder, options=Options(translate=True)))[-1]
    assert finished.translated
    assert all(ask.rules.translate for ask in decoder.asks)


async def test_logprobs_are_told_where_they_are_asked_for():
    first, *_ = await collect(FakeDecoder(sentence), options=Options(logprobs=True))
    assert [(one.content, one.logprob) for one in first.logprobs] == [(b" w10", -0.1)]
    first, *_ = await collect(FakeDecoder(sentence))
    assert first.logprobs == ()


async def test_a_recording_of_zeros_still_finishes():
    wave = Waveform.of(np.zeros(16_000, np.float32))
    events = [event async for event in events_of(FakeDecoder(lambda n: said()), wave)]
    assert isinstance(events[-1], Transcript)


async def test_an_english_only_checkpoint_knows_english():
    english = SpecialTokens(**{**T.__dict__, "languages": {}})
    decoder = FakeDecoder(lambda n: sentence(n, languages={"": 0.0}))
    assert loaded(decoder, english).capabilities.languages == {"en"}
    events = await collect(decoder, 1.0, options=Options(languages=("en",)), tokens=english)
    assert events[-1].language == "en"
    assert decoder.asks[0].rules.languages == ()


async def repeated(**kwargs):
    """The temperatures at which a window is decoded whose text is one word over and over."""
    decoder = FakeDecoder(lambda number: said(TS, *[7] * 200))
    await collect(decoder, 1.5, **kwargs)
    return [ask.temperature for ask in decoder.asks]


async def test_what_repeats_itself_is_decoded_at_higher_temperatures_unless_told_otherwise():
    assert await repeated() == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert await repeated(options=Options(fallback=False)) == [0]
    assert await repeated(options=Options(temperature=0.4)) == [0.4]


async def test_a_repetition_of_a_request_is_sampled_alike():
    def seeds(decoder):
        return [ask.seed for ask in decoder.asks]

    decoders = [FakeDecoder(sentence) for _ in range(3)]
    for decoder, seconds in zip(decoders, (9, 9, 8.5), strict=True):
        await collect(decoder, seconds, options=Options(temperature=0.4))
    one, same, other = map(seeds, decoders)
    assert one == same != other
    assert len(set(one)) > 1


@pytest.fixture
def endless(monkeypatch):
    """Speech of 50 s without a pause."""
    speech = [Stretch(0, 50 * SAMPLE_RATE)]
    monkeypatch.setattr("app.speech.cutting.find_speech", partial(told_by, speech))
    return Waveform.of(silence(50))


def at(*seconds):
    """The steps of segments that meet at these times, each with the word of its number."""
    marks = [TS + int(50 * second) for second in seconds]
    tokens = [token for n, pair in enumerate(pairwise(marks), 1) for token in (pair[0], n, pair[1])]
    return said(*tokens)


async def spoken(decoder, wave):
    cutting = Cutting(30, VadOptions())
    return [event async for event in transcribed(loaded(decoder), wave, Options(), cutting)]


async def test_what_reaches_a_cut_in_speech_is_decoded_again_with_what_follows(endless):
    answers = [at(0, 12, 20, 29.6), at(0, 9, 25), at(0, 5)]
    decoder = FakeDecoder(answers.__getitem__)
    *segments, finished = await spoken(decoder, endless)
    assert [ask.window.start_ms for ask in decoder.asks] == [0, 20_000, 45_000]
    assert [(one.start_ms, one.end_ms) for one in segments] == [
        (0, 12_000), (12_000, 20_000), (20_000, 29_000), (29_000, 45_000), (45_000, 50_000),
    ]  # fmt: skip
    assert finished.text == "".join(one.text for one in segments).strip()
    assert finished.coverage.dropped == ()


async def test_a_window_that_closes_nothing_before_a_cut_is_told_up_to_it(endless):
    answers = [at(0, 3, 29.6), at(0, 20)]
    decoder = FakeDecoder(answers.__getitem__)
    *segments, _ = await spoken(decoder, endless)
    first, second = decoder.asks
    assert second.window.start_ms == first.window.duration_ms
    assert [one.text for one in segments] == [" w1", " w2", " w1"]
