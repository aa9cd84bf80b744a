"""A transcription that is broken off and begun again says what it would have said."""

import random
from contextlib import aclosing

import pytest

from app.audio.waveform import Waveform
from app.models.base import Segment
from app.speech.cutting import Cutting
from app.transcription.pipeline import transcribe
from app.transcription.planning import plan
from app.transcription.results import Options
from tests.sound import tone
from tests.transcription.fakes import TS, FakeDecoder, T, loaded, said, sentence

pytestmark = pytest.mark.anyio

OPTIONS, CUTTING = Options(), Cutting(2)


class Kept:
    """Finished windows, in memory."""

    def __init__(self, windows=()):
        self.windows = dict(windows)

    def find(self, number):
        return self.windows.get(number)

    def keep(self, number, window):
        self.windows[number] = window


async def transcribed(decoder, kept):
    planned = await plan(Waveform.of(tone(12.0)), OPTIONS, CUTTING)
    events = transcribe(loaded(decoder, T), planned, OPTIONS, kept=kept)
    async with aclosing(events):
        return [event async for event in events]


WAYS = [
    said(TS, 11, TS + 50, TS + 60, 12, TS + 99),
    said(TS, 11, TS + 20, languages={"en": 0.6, "zh": 0.4}),
    said(TS, 11, no_speech=0.9, logprob=-1.5),
    said(TS),
]


@pytest.mark.parametrize("seed", range(10))
async def test_windows_that_are_kept_are_told_in_their_places_and_not_decoded(seed):
    chance = random.Random(seed)
    whole = Kept()
    await transcribed(FakeDecoder(sentence), whole)
    some = chance.sample(sorted(whole.windows), chance.randrange(len(whole.windows) + 1))
    kept = Kept({number: whole.windows[number] for number in some})
    decoder = FakeDecoder(lambda _: said(TS, 11, TS + 50, TS + 60, 12, TS + 99))
    *again, _ = await transcribed(decoder, kept)
    assert len(decoder.asks) == len(whole.windows) - len(some)
    assert [one.start_ms for one in again] == sorted(one.start_ms for one in again)
    for number in some:
        assert kept.windows[number] is whole.windows[number]
        for segment in whole.windows[number].segments:
            assert segment in again


async def test_all_that_is_kept_is_told_without_a_decoder():
    whole = Kept()
    *told, transcript = await transcribed(FakeDecoder(sentence), whole)
    decoder = FakeDecoder(sentence)
    *again, same = await transcribed(decoder, whole)
    assert decoder.asks == []
    assert same == transcript
    assert [(one.start_ms, one.text) for one in again] == [(one.start_ms, one.text) for one in told]
    assert all(isinstance(one, Segment) for one in again)


@pytest.mark.parametrize("way", WAYS)
async def test_a_window_is_kept_with_all_that_a_transcript_is_made_of(way):
    whole = Kept()
    *_, transcript = await transcribed(FakeDecoder(lambda _: way), whole)
    *_, same = await transcribed(FakeDecoder(sentence), whole)
    assert same == transcript
