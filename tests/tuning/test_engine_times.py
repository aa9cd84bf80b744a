"""An engine's encoder and steps are told apart by when tokens come."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, Waveform
from app.models.base import DecodeRequest
from app.recordings.clip import Clip
from app.speech.windows import Window
from app.tuning.engine_times import (
    Run,
    at_once,
    spoken_window,
    spread,
    step_seconds,
    taking_turns,
)

REQUEST = DecodeRequest(Window.of(0, np.zeros(SAMPLE_RATE, np.int16)))


def test_a_step_is_the_time_between_tokens():
    assert step_seconds(Run(0.0, [[1.0, 1.5, 2.0, 2.5]])) == pytest.approx(0.5)


def test_only_the_time_in_which_all_windows_are_decoded_counts():
    early = [1.0, 5.0, 6.0, 7.0]  # while the other was encoded it waited
    late = [5.0, 6.0, 7.0, 8.0, 8.1]
    assert step_seconds(Run(0.0, [early, late])) == pytest.approx(1.0)


def test_a_run_lasts_until_its_last_token():
    assert Run(1.0, [[2.0, 3.0], [2.0, 4.5]]).seconds == 3.5


def test_one_odd_round_of_many_does_not_make_a_device_unsteady():
    assert spread([1.0, 1.0, 1.0, 1.0, 5.0]) == 0
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(0.5)


def test_windows_that_there_is_no_room_for_take_turns():
    assert taking_turns({1: 0.01, 4: 0.02}) == {1: 0.01, 4: 0.02, 16: 0.08}


class Decoder:
    """Gives three tokens to each window."""

    def __init__(self):
        self.running = self.most = 0

    async def decode_window(self, request, on_token):
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
            on_token()
        self.running -= 1
        yield None


def test_so_many_windows_are_decoded_at_once():
    decoder = Decoder()
    run = asyncio.run(at_once(decoder, REQUEST, 4))
    assert decoder.most == 4
    assert [len(one) for one in run.tokens] == [3, 3, 3, 3]
    assert all(run.begun <= at for one in run.tokens for at in one)


@dataclass(frozen=True)
class Spoken(Clip):
    """A clip that need not be decoded."""

    seconds: float = 0.0

    def waveform(self):
        return Waveform(np.ones(int(self.seconds * SAMPLE_RATE), np.float32))


def spoken(seconds, language):
    return Spoken(b"", "a b", language, seconds=seconds)


def test_a_window_is_filled_with_clips_of_one_language():
    window, language = spoken_window([spoken(8, "en"), spoken(9, "zh"), spoken(7, "en")])
    assert language == "en"
    assert len(window.pcm) / SAMPLE_RATE == pytest.approx(16)  # and half a second behind each


def test_a_window_is_no_longer_than_the_model_hears():
    window, _ = spoken_window([spoken(10, "en")] * 9)
    assert len(window.pcm) <= 30 * SAMPLE_RATE
