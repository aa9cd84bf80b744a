"""A short window is heard shortened, and whole where that says little."""

import asyncio

import numpy as np

from app.audio.waveform import SAMPLE_RATE
from app.models.base import DecodeRequest, Segment
from app.models.whisper_vllm.decoder import WhisperDecoder
from app.models.whisper_vllm.encoder_length import EncoderLengths
from app.models.whisper_vllm.tokens import MOST_FRAMES
from app.speech.windows import Window
from app.transcription.windows import decode_window
from tests.transcription.fakes import TS, FakeDecoder, FakeText, T, said

WINDOW = Window.of(0, np.zeros(3 * SAMPLE_RATE, np.int16))
SURE = said(TS, 11, TS + 50)
UNSURE = said(TS, 12, TS + 50, logprob=-1.5)


def heard(*answers, lengths=EncoderLengths(source="asked")):  # noqa: B008  frozen
    """What is told of a window that gets these answers in turn, and what was asked."""
    engine = FakeDecoder(lambda number: answers[number])
    decoder = WhisperDecoder(engine, T, FakeText(), lengths=lengths)

    async def told():
        events = decode_window(decoder, DecodeRequest(WINDOW, ("en",)), lambda: None)
        return [event.text async for event in events if isinstance(event, Segment)]

    return asyncio.run(told()), engine.asks


def test_a_short_window_is_heard_shortened_and_no_timestamp_lies_behind_it():
    texts, (asked,) = heard(SURE)
    assert texts == [" w11"]
    assert asked.positions < MOST_FRAMES
    assert asked.rules.frames == 150


def test_doubtful_text_is_not_told_and_the_window_is_heard_whole():
    texts, (first, second) = heard(UNSURE, SURE)
    assert texts == [" w11"]
    assert (first.positions < MOST_FRAMES, second.positions) == (True, MOST_FRAMES)
    assert second.rules.frames == 0


def test_what_is_unsure_also_when_it_is_heard_whole_is_told():
    texts, asks = heard(UNSURE, UNSURE)
    assert (texts, len(asks)) == ([" w12"], 2)


def test_a_window_of_a_checkpoint_that_nobody_measured_is_heard_whole():
    _, (asked,) = heard(UNSURE, lengths=EncoderLengths())
    assert (asked.positions, asked.rules.frames) == (MOST_FRAMES, 0)
