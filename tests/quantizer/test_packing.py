"""Calibration clips share windows, and keep their words and times."""

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, Waveform
from app.quantizer.packing import packed, window_of
from app.recordings.clip import Clip


@pytest.fixture(autouse=True)
def sounds(monkeypatch):
    """A clip's audio is named by its seconds."""

    def waveform(self):
        return Waveform.of(np.ones(int(float(self.audio.stem) * SAMPLE_RATE), np.float32))

    monkeypatch.setattr(Clip, "waveform", waveform)


def clip(tmp_path, seconds, text, language="en", timed=()):
    return Clip(tmp_path / f"{seconds}.wav", text, language, timed)


def test_clips_fill_a_window_in_their_order_and_the_next_begins_another(tmp_path):
    several = [clip(tmp_path, 12.0, text) for text in ("one", "two", "three")]
    windows = packed(several)
    assert [window.text for window in windows] == ["one two", "three"]
    assert [window.seconds for window in windows] == pytest.approx([24.4, 12.0])


def test_a_windows_times_are_those_of_the_speech_in_it(tmp_path):
    timed = ((1.0, 2.0, "two"), (2.5, 4.0, "words"))
    (window,) = packed([clip(tmp_path, 3.0, "one"), clip(tmp_path, 5.0, "two words", timed=timed)])
    starts, ends, texts = zip(*window.segments, strict=True)
    assert texts == ("one", "two", "words")
    assert starts == pytest.approx((0, 4.4, 5.9))
    assert ends == pytest.approx((3, 5.4, 7.4))
    assert not window.samples[int(3.05 * SAMPLE_RATE) : int(3.35 * SAMPLE_RATE)].any()
    assert window.samples[int(4.5 * SAMPLE_RATE)] == pytest.approx(1, abs=1e-4)


def test_a_window_is_of_one_language_and_characters_are_not_spaced(tmp_path):
    several = [
        clip(tmp_path, 5.0, "求救", "zh"),
        clip(tmp_path, 5.0, "mayday"),
        clip(tmp_path, 5.0, "收到", "zh"),
    ]
    found = {window.language: window.text for window in packed(several)}
    assert found == {"zh": "求救收到", "en": "mayday"}


def test_a_clip_as_long_as_a_window_has_one_to_itself(tmp_path):
    several = [clip(tmp_path, 30.0, "long"), clip(tmp_path, 0.1, "short")]
    assert [window.text for window in packed(several)] == ["long", "short"]


def test_a_clip_without_times_is_one_sentence(tmp_path):
    assert window_of(clip(tmp_path, 2.0, "hello")).segments == ((0.0, 2.0, "hello"),)
