"""Windows tile a waveform and are cut where it is quiet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.waveform import SAMPLE_RATE, Waveform
from app.speech.cutting import Cutting, cut
from tests.sound import silence, tone


@settings(deadline=None, max_examples=40)
@given(seconds=st.floats(0.1, 130), max_seconds=st.floats(2, 30), seed=st.integers(0, 9))
def test_windows_tile_the_waveform(seconds, max_seconds, seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * SAMPLE_RATE))
    wave = Waveform.of(noise.astype(np.float32))
    windows = list(cut(wave, Cutting(max_seconds)))
    np.testing.assert_array_equal(np.concatenate([w.samples for w in windows]), wave.samples)
    assert [w.parts[0].offset for w in windows] == list(
        np.cumsum([0] + [len(w.samples) for w in windows])[:-1]
    )
    assert all(0 < len(w.samples) <= int(max_seconds * SAMPLE_RATE) for w in windows)


def test_a_short_recording_is_one_window_that_is_not_copied():
    wave = Waveform.of(tone(5))
    (window,) = cut(wave, Cutting())
    assert window.pcm.base is wave.pcm


@pytest.mark.parametrize("quiet_at", [25.5, 27.0, 29.0])
def test_a_cut_falls_into_the_pause_before_the_limit(quiet_at):
    wave = Waveform.of(np.concatenate([tone(quiet_at), silence(0.5), tone(40 - quiet_at)]))
    first, _ = cut(wave, Cutting())
    assert quiet_at <= len(first.samples) / SAMPLE_RATE <= quiet_at + 0.5


def test_a_window_knows_its_offset_in_milliseconds():
    wave = Waveform.of(np.concatenate([tone(28), silence(1), tone(10)]))
    first, second = cut(wave, Cutting())
    assert second.start_ms == first.duration_ms


def test_in_silence_windows_are_as_long_as_they_can_be():
    windows = list(cut(Waveform.of(silence(90)), Cutting()))
    assert len(windows) <= 4


def test_a_recording_just_over_the_limit_leaves_no_sliver():
    windows = list(cut(Waveform.of(silence(30.02)), Cutting()))
    assert [len(w.samples) / SAMPLE_RATE >= 0.99 for w in windows] == [True, True]


def test_a_faint_dip_in_steady_noise_is_found():
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * SAMPLE_RATE).astype(np.float32)
    noise[27 * SAMPLE_RATE : 27 * SAMPLE_RATE + SAMPLE_RATE // 2] *= 0.75
    first, _ = cut(Waveform.of(noise), Cutting())
    assert 27 <= len(first.samples) / SAMPLE_RATE <= 27.5


def test_a_dip_further_before_the_limit_than_six_seconds_is_none():
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * SAMPLE_RATE).astype(np.float32)
    for at, level in ((22, 0.1), (27, 0.5)):
        noise[at * SAMPLE_RATE : at * SAMPLE_RATE + SAMPLE_RATE // 2] *= level
    first, _ = cut(Waveform.of(noise), Cutting())
    assert 27 <= len(first.samples) / SAMPLE_RATE <= 27.5


def test_what_is_left_of_a_window_knows_where_it_begins():
    (window,) = cut(Waveform.of(tone(3)), Cutting())
    rest = window.after(1200)
    assert (rest.start_ms, rest.duration_ms) == (1200, 1800)


@pytest.mark.parametrize(
    ("behind", "heard"),
    [(tone(1), True), (tone(1, level=0.05), True), (tone(0.1), False), (silence(2), False),
     (tone(2, level=0.01), False)],
)  # fmt: skip
def test_what_sounds_behind_a_point_is_a_syllable_or_more_of_no_faint_sound(behind, heard):
    (window,) = cut(Waveform.of(np.concatenate([tone(3), silence(1), behind])), Cutting())
    assert window.is_heard_after(3500) is heard


def test_nothing_is_heard_in_silence_or_in_next_to_nothing():
    for samples in (silence(1), silence(0.001)):
        (window,) = cut(Waveform.of(samples), Cutting())
        assert not window.is_heard_after(0)
