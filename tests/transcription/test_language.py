"""A recording's windows are in its language, unless the model is sure of another one."""

import asyncio

import numpy as np
import pytest

from app.audio.waveform import Waveform, to_pcm
from app.errors import EngineDied
from app.models.base import DecodeRequest, LanguageDetection, WindowFigures, WindowResult
from app.speech.cutting import Cutting
from app.speech.windows import Window
from app.transcription.finished import Detected
from app.transcription.language import RecordingLanguage
from app.transcription.results import Options, Transcript
from tests.sound import silence, tone
from tests.transcription.fakes import FakeDecoder, T, loaded, sentence, transcribed

pytestmark = pytest.mark.anyio

FRENCH, THAI = {"fr": 0.95, "th": 0.05}, {"fr": 0.3, "th": 0.7}


def windows(count):
    """A recording of as many windows, of two seconds each."""
    return Waveform.of(np.concatenate([tone(1.5), silence(0.5)] * count))


async def heard(*detected, options=None, delays=()):
    """The transcript of a window for each of these detections, and what the decoder was asked."""

    def answer(asked):
        """It hears in the language that it is told, where it is told one."""
        ask = decoder.asks[asked]
        number = round(ask.window.start_ms / 2000)
        told = dict.fromkeys(ask.rules.languages, 1.0)
        return sentence(number, languages=told or detected[number])

    decoder = FakeDecoder(answer, delays)
    wave = windows(len(detected))
    events = transcribed(loaded(decoder), wave, options or Options(), Cutting(2.6))
    *_, transcript = [event async for event in events]
    assert isinstance(transcript, Transcript)
    return transcript, [ask.rules.languages for ask in decoder.asks]


async def test_an_unsure_window_is_decoded_again_in_the_recordings_language():
    transcript, asked = await heard(FRENCH, FRENCH, THAI)
    assert transcript.language == "fr"
    assert asked == [(), (), (), ("fr",)]
    assert transcript.text == "w10 w11 w12"


async def test_a_sure_window_keeps_its_own():
    _, asked = await heard(FRENCH, {"fr": 0.01, "en": 0.99}, FRENCH)
    assert asked == [(), (), ()]


async def test_the_first_window_is_waited_for():
    _, asked = await heard(FRENCH, THAI, delays=[0.05, 0, 0, 0])
    assert asked == [(), (), ("fr",)]


async def test_an_unsure_first_window_settles_nothing():
    _, asked = await heard({"fr": 0.4, "th": 0.35, "en": 0.25}, {"en": 0.9, "fr": 0.1})
    assert asked == [(), ()]


async def test_a_named_language_is_never_doubted():
    _, asked = await heard(FRENCH, THAI, options=Options(languages=("th",)))
    assert asked == [("th",), ("th",)]


async def test_a_first_window_that_fails_keeps_nobody_waiting():
    def answer(number):
        return EngineDied("gone") if number == 0 else sentence(number, languages=THAI)

    decoder = FakeDecoder(answer, delays=[0.02, 0, 0])
    wave = windows(2)
    with pytest.raises(EngineDied):
        async for _ in transcribed(loaded(decoder, T), wave, Options(), Cutting(2.6)):
            pass
    assert decoder.in_flight == 0


def heard_of(languages, asked=(), seconds=2.0, no_speech=0.0):
    window = Window.of(0, to_pcm(silence(seconds)))
    figures = WindowFigures(0, 0.0, -0.1, 1.0, no_speech)
    detection = LanguageDetection(languages, no_speech)
    return WindowResult(DecodeRequest(window, languages=asked), detection, figures)


async def said_of(*windows):
    """What is made of the last of these windows, none of which has to wait."""
    language = RecordingLanguage()
    for number, one in enumerate(windows):
        verdict = await asyncio.wait_for(language.of_window(number, one), 10)
    return verdict


@pytest.mark.parametrize(("french", "verdict"), [(0.05, "fr"), (0.045, None)])
async def test_a_change_of_language_is_as_likely_as_one_in_twenty(french, verdict):
    heard = {"fr": french, "th": 1 - french}
    assert await said_of(heard_of({"fr": 1.0, "th": 0.0}), heard_of(heard)) == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(2, "fr"), (20, None)])
async def test_each_window_counts_by_its_seconds(seconds, verdict):
    first, unsure = heard_of({"fr": 1.0, "en": 0.0}, seconds=8), heard_of({"fr": 0.4, "en": 0.6})
    english = heard_of({"fr": 0.0, "en": 1.0}, seconds=seconds)
    assert await said_of(first, english, unsure) == verdict


@pytest.mark.parametrize(("no_speech", "verdict"), [(0.1, "fr"), (0.9, None), (1.0, None)])
async def test_silence_has_little_say(no_speech, verdict):
    first = heard_of({"fr": 1.0, "en": 0.0}, no_speech=no_speech)
    english = heard_of({"fr": 0.0, "en": 1.0}, seconds=0.5)
    assert await said_of(first, english, heard_of({"fr": 0.4, "en": 0.6})) == verdict


@pytest.mark.parametrize("one", [heard_of(THAI, ("th",)), heard_of({"th": 1.0}), heard_of({})])
async def test_where_there_is_one_language_nobody_waits(one):
    language = RecordingLanguage()
    assert await asyncio.wait_for(language.of_window(1, one), 10) is None
    await said_of(one, heard_of(THAI))


async def test_a_first_window_without_a_detection_is_given_up():
    language = RecordingLanguage()
    language.give_up(0)
    assert await asyncio.wait_for(language.of_window(1, heard_of(THAI)), 10) is None


async def test_a_window_goes_by_those_before_it_whichever_are_decoded_first():
    language, verdicts = RecordingLanguage(), {}
    windows = [
        heard_of({"fr": 1.0, "en": 0.0}, seconds=8),
        heard_of({"fr": 0.0, "en": 1.0}, seconds=2),
        heard_of({"fr": 0.4, "en": 0.6}),
        heard_of({"fr": 0.0, "en": 1.0}, seconds=30),
    ]

    async def ask(number):
        verdicts[number] = await language.of_window(number, windows[number])

    tasks = [asyncio.create_task(ask(number)) for number in (3, 2, 1, 0)]
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert verdicts == {0: None, 1: None, 2: "fr", 3: None}


async def test_a_window_that_was_finished_before_counts_as_it_did():
    language = RecordingLanguage()
    language.add_finished(0, [Detected({"fr": 1.0, "en": 0.0}, 0.0, 8000)])
    language.add_finished(1, [Detected({"en": 1.0}, 0.0, 90_000)])
    language.add_finished(2, [])
    unsure = heard_of({"fr": 0.4, "en": 0.6})
    assert await asyncio.wait_for(language.of_window(3, unsure), 10) == "fr"
