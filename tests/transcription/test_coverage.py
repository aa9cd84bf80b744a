"""What became of the speech: told, decoded again, or dropped, with its place and reason."""

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.base import DecodeRequest
from app.speech.stretches import Stretch
from app.speech.windows import Part, Window
from app.transcription.coverage import Coverage, DroppedSpeech, coverage
from app.transcription.windows import Pass, decode_window
from tests.transcription.fakes import TS, FakeDecoder, loaded, said

pytestmark = pytest.mark.anyio


def second(at):
    return int(at * SAMPLE_RATE)


def window_of(*spoken, start=5, seconds=10):
    speech = tuple(Stretch(second(a), second(b)) for a, b in spoken)
    return Window((Part(second(start), to_pcm(np.zeros(second(seconds), np.float32))),), speech)


async def covered(window, *answers):
    decoder = FakeDecoder(lambda number: answers[number])
    decoding = decode_window(loaded(decoder).decoder, DecodeRequest(window), lambda: None)
    events = [event async for event in decoding]
    passes = [event for event in events if isinstance(event, Pass)]
    told = [event.text for event in events if not isinstance(event, Pass)]
    assert told == [segment.text for one in passes for segment in one.segments]
    return coverage([window], passes)


async def test_what_is_told_to_its_end_is_all_told():
    window = window_of((5, 8), (9, 12))
    assert await covered(window, said(TS, 1, TS + 340)) == Coverage(6000)


async def test_the_last_segment_says_how_far_it_was_told():
    window = window_of((5, 8), (9, 12))
    assert await covered(window, said(TS, 1, TS + 50, TS + 50, 2, TS + 340)) == Coverage(6000)


async def test_where_the_model_ends_early_the_rest_is_decoded_again():
    window = window_of((5, 8), (9, 12))
    heard = await covered(window, said(TS, 1, TS + 150), said(TS, 2, TS + 200))
    assert heard == Coverage(6000, again_ms=3000)


async def test_what_nothing_is_decoded_of_is_dropped_with_its_place():
    window = window_of((5, 8), (9, 12))
    heard = await covered(window, said(TS, 1, TS + 150), said(TS))
    assert heard == Coverage(6000, 3000, (DroppedSpeech(9000, 12_000, "nothing_decoded"),))
    assert heard.dropped_ms == 3000


async def test_what_the_model_calls_silence_is_dropped():
    heard = await covered(window_of((6, 8)), said(TS, 1, TS + 150, no_speech=0.9, logprob=-1.5))
    assert heard.dropped == (DroppedSpeech(6000, 8000, "no_speech"),)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(TS), "nothing_decoded"),
        (said(TS, 1, TS + 50, no_speech=0.9, logprob=-1.5), "no_speech"),
    ],
)
async def test_a_short_word_that_is_all_there_is_is_dropped_with_its_place(answer, reason):
    heard = await covered(window_of((14.8, 15)), answer)
    assert heard == Coverage(200, 0, (DroppedSpeech(14_800, 15_000, reason),))


async def test_half_a_second_behind_a_segment_is_decoded_again_and_told_of():
    window = window_of((5, 8), (9, 9.5))
    heard = await covered(window, said(TS, 1, TS + 150), said(TS))
    assert heard == Coverage(3500, 500, (DroppedSpeech(9000, 9500, "nothing_decoded"),))


async def test_less_than_half_a_second_behind_a_segment_is_within_its_error():
    assert await covered(window_of((5, 8), (9, 9.45)), said(TS, 1, TS + 150)) == Coverage(3450)


async def test_less_than_half_a_second_behind_a_loop_is_within_its_error_too():
    loop = said(TS, 1, TS + 180, TS + 180, *[7] * 400)
    heard = await covered(window_of((5, 9)), loop, said(TS))
    assert heard == Coverage(4000, again_ms=400)


async def test_what_the_model_leaves_open_is_told_to_the_windows_end():
    assert await covered(window_of((5, 8), (9, 12)), said(TS, 1)) == Coverage(6000)


async def test_what_is_invented_to_the_rest_of_a_window_is_not_told():
    window = window_of((5, 8), (9, 9.6))
    heard = await covered(window, said(TS, 1, TS + 150), said(TS, *range(1, 20), TS + 200))
    assert heard.dropped == (DroppedSpeech(9000, 9600, "more_than_said"),)


async def test_what_a_loop_hides_is_dropped():
    loop = said(TS, *[7] * 400)
    heard = await covered(window_of((5, 11), seconds=7), *[loop] * 6)
    assert heard.again_ms == 5 * 6000
    assert heard.dropped == (DroppedSpeech(5000, 11_000, "repetition"),)


async def test_a_recording_without_speech_has_none_to_lose():
    assert coverage([], []) == Coverage(0)
