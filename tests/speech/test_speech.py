"""Where somebody speaks, and what of a recording is therefore decoded."""

import tracemalloc
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.incoming import Whole
from app.audio.waveform import SAMPLE_RATE, Waveform, to_pcm
from app.environment import DEMO
from app.settings import Settings
from app.speech import stretches
from app.speech.cutting import Cutting, cut, cut_incoming, first_piece
from app.speech.stretches import Stretch, VadOptions, find_speech, joined
from app.speech.vad import FRAME, speech_probabilities
from tests.sound import silence, tone
from tests.speech.fakes import told_by

SECOND = SAMPLE_RATE
WHOLE = Cutting(30, VadOptions())


@pytest.fixture(scope="module")
def spoken():
    """Fourteen seconds of a neural voice, five sentences."""
    with (DEMO / "recordings" / "mayday.mp3").open("rb") as file:
        return decode(file, max_seconds=60).samples


def all_of(pcm):
    return np.concatenate(list(speech_probabilities(Whole(pcm))))


def speech_of(pcm, threshold=0.5):
    return list(find_speech(Whole(pcm), VadOptions(threshold)))


class InSteps:
    """A recording that comes in steps of so many samples, and then all that is left."""

    def __init__(self, pcm, steps):
        self.pcm, self.count = pcm, 0
        self._steps = iter(steps)

    def more(self):
        known = self.count
        self.count = min(len(self.pcm), known + next(self._steps, len(self.pcm)))
        return known < self.count


def seconds(parts):
    return [(p.start / SECOND, p.stop / SECOND) for p in parts]


@pytest.fixture
def said(monkeypatch):
    """Has these stretches, in seconds, be speech."""

    def of(*spans):
        found = [Stretch(int(a * SECOND), int(b * SECOND)) for a, b in spans]
        monkeypatch.setattr("app.speech.cutting.find_speech", partial(told_by, found))

    return of


def test_a_frame_has_one_probability_whatever_the_block_it_is_in(spoken, monkeypatch):
    whole = all_of(to_pcm(spoken))
    monkeypatch.setattr("app.speech.vad._BLOCK", 7)
    np.testing.assert_allclose(all_of(to_pcm(spoken)), whole, atol=1e-6)
    assert len(whole) == -(-len(spoken) // FRAME)


def test_a_recording_that_is_heard_as_it_comes_has_the_same_probabilities(spoken, monkeypatch):
    monkeypatch.setattr("app.speech.vad._BLOCK", 7)
    pcm = to_pcm(spoken)
    found = list(speech_probabilities(InSteps(pcm, [10, 2990, 584, 5416])))
    assert len(found) > 2
    np.testing.assert_array_equal(np.concatenate(found), all_of(pcm))


@pytest.mark.parametrize(
    "samples",
    [silence(5), tone(5), np.random.default_rng(0).normal(0, 0.1, 5 * SECOND).astype(np.float32),
     silence(0), silence(0.01)],
)  # fmt: skip
def test_nobody_speaks_in_silence_a_tone_or_noise(samples):
    assert speech_of(to_pcm(samples)) == []
    assert cut(Waveform.of(samples), WHOLE) == []


def test_speech_is_found_where_it_is(spoken):
    apart = np.concatenate([silence(10), spoken, silence(20), spoken])
    found = speech_of(to_pcm(apart))
    length = len(spoken) / SECOND
    assert found[0].start / SECOND == pytest.approx(10.5, abs=0.3)
    assert all(10 <= a <= b <= 10 + length or 30 + length <= a <= b for a, b in seconds(found))


@pytest.mark.parametrize("at", [0.7, 1.5, 4, 7, 10])
def test_a_fifth_of_a_second_of_speech_is_decoded_whole_at_either_end(spoken, at):
    """Where a recorder was started late, or stopped early."""
    word = spoken[int(at * SECOND) :][: SECOND // 5]
    (first,) = cut(Waveform.of(np.concatenate([word, silence(3)])), WHOLE)
    (last,) = cut(Waveform.of(np.concatenate([silence(3), word])), WHOLE)
    assert first.parts[0].offset == 0
    assert first.parts[0].stop >= len(word)
    assert last.parts[-1].offset <= 3 * SECOND
    assert last.parts[-1].stop == 3 * SECOND + len(word)
    for window in (first, last):
        assert 0 < window.speech_ms_after(0) <= 300


@pytest.fixture(scope="module")
def faint(spoken):
    """Speech so faint that the detector takes it for silence."""
    return to_pcm(spoken * 10 ** (-63 / 20))


def test_faint_speech_is_found_below_a_lower_threshold(faint):
    assert sum(map(len, speech_of(faint))) < SECOND
    assert sum(map(len, speech_of(faint, 0.05))) > 6 * SECOND


def test_where_the_detector_finds_nothing_all_is_decoded_without_it(faint):
    unheard = Cutting(30, VadOptions(0.9))
    assert cut(Waveform(faint), unheard) == []
    (window,) = cut(Waveform(faint), Cutting.of(Settings(vad=False)))
    np.testing.assert_array_equal(window.pcm, faint)


def test_minutes_of_silence_have_no_windows_and_take_the_memory_of_seconds():
    hush = Waveform(np.zeros(10 * 60 * SECOND, np.int16))
    cut(Waveform(hush.pcm[:SECOND]), WHOLE)  # loads the model
    tracemalloc.start()
    try:
        assert cut(hush, WHOLE) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(hush.pcm) * 4 / 4  # a quarter of what it takes in 32 bits


def test_a_higher_threshold_finds_no_more(spoken):
    low, high = (sum(map(len, speech_of(to_pcm(spoken), t))) for t in (0.05, 0.95))
    assert 0 < high < low


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0, 1, 1, 0, 0, 0], [(1, 3)]),
        ([1, 1, 0, 1, 0, 0], [(0, 4)]),  # one frame is no pause
        ([1, 0.4, 0.4, 0.4, 1], [(0, 5)]),  # nor is what may be speech
        ([1, 0.3, 0.4, 1], [(0, 1), (3, 4)]),  # but that ends one which has begun to end
        ([0, 0, 1], [(2, 3)]),
        ([0, 0.4], []),
    ],
)
def test_a_stretch_begins_with_what_is_likely_and_ends_with_two_frames_that_are_not(
    probabilities, expected
):
    found = stretches._stretches(probabilities, 0.5)
    assert [(one.start // FRAME, one.stop // FRAME) for one in found] == expected


def test_stretches_with_a_shorter_pause_are_one():
    apart = [Stretch(0, 10), Stretch(12, 20), Stretch(25, 30)]
    assert joined(apart, 3) == [Stretch(0, 20), Stretch(25, 30)]


def test_what_is_no_speech_is_not_decoded(said):
    said((10, 12), (40, 42))
    (window,) = cut(Waveform.of(silence(60)), WHOLE)
    assert [(p.offset / SECOND, p.stop / SECOND) for p in window.parts] == [
        (9.7, 12.3),
        (39.7, 42.3),
    ]
    assert len(window.samples) == int(5.2 * SECOND)


def test_a_pause_between_sentences_is_decoded_whole(said):
    said((1, 3), (3.9, 6))
    (window,) = cut(Waveform.of(silence(20)), WHOLE)
    assert [(p.offset / SECOND, p.stop / SECOND) for p in window.parts] == [(0.7, 6.3)]


def test_a_pause_that_counts_as_speech_is_decoded_whole(said):
    said((1, 3), (8, 9))
    vad = VadOptions(silence_duration_ms=6000)
    (window,) = cut(Waveform.of(silence(20)), Cutting(30, vad))
    assert len(window.parts) == 1
    assert [len(one) / SECOND for one in window.speech] == [8]


def test_a_pause_that_is_filled_with_padding_is_decoded_whole(said):
    said((5, 6), (7.8, 9))
    vad = VadOptions(prefix_padding_ms=1000)
    (window,) = cut(Waveform.of(silence(20)), Cutting(30, vad))
    assert len(window.parts) == 1


def test_speech_at_the_very_ends_of_a_recording_is_decoded_and_counted(said):
    said((0, 0.2), (59.8, 60))
    (window,) = cut(Waveform.of(silence(60)), WHOLE)
    assert [(p.offset / SECOND, p.stop / SECOND) for p in window.parts] == [(0, 0.5), (59.5, 60)]
    assert window.speech_ms_after(0) == 400


@pytest.mark.parametrize(("long", "end"), [(23.5, 27.1), (24.6, 24.8)])
def test_a_pause_is_near_the_limit_in_the_last_six_seconds(said, long, end):
    said((0, long), (long + 0.4, 27), (27.2, 40))
    first, *_ = cut(Waveform.of(silence(41)), WHOLE)
    assert first.parts[-1].stop / SECOND == pytest.approx(end)


def test_a_short_window_is_searched_in_its_second_half(said):
    said((0, 1.3), (1.7, 3), (3.2, 9))
    first, *_ = cut(Waveform.of(silence(9)), Cutting(4, VadOptions()))
    assert first.parts[-1].stop / SECOND == pytest.approx(3.1)


def test_what_fits_into_one_window_is_one(said):
    said((0, 25), (25.5, 28))
    (window,) = cut(Waveform.of(silence(29)), WHOLE)
    assert window.duration_ms == 28_300


def test_a_window_ends_in_the_longest_pause_near_its_limit(said):
    said((0, 20), (20.1, 25), (25.9, 28), (28.2, 40))
    first, second = cut(Waveform.of(silence(41)), WHOLE)
    assert first.parts[-1].stop / SECOND == pytest.approx(25.45)
    assert second.parts[0].offset == first.parts[-1].stop


def test_no_speech_is_left_out_and_none_is_in_two_windows(said):
    generator = np.random.default_rng(0)
    at, spans = 0.0, []
    for _ in range(60):
        at += generator.choice([0.1, 0.5, 3])
        spans.append((at, at := at + generator.uniform(0.1, 45)))
    said(*spans)
    windows = cut(Waveform.of(silence(at + 1)), WHOLE)
    decoded = [Stretch(p.offset, p.stop) for window in windows for p in window.parts]
    assert all(one.stop <= two.start for one, two in pairwise(decoded))
    speech = [Stretch(int(a * SECOND), int(b * SECOND)) for a, b in spans]
    heard = sum(len(one.common(two)) for one in speech for two in decoded)
    assert heard == sum(map(len, speech))
    for window in windows:
        left = window
        while left:
            piece, left = first_piece(left, 30)
            assert SECOND <= len(piece.pcm) <= 30 * SECOND


@pytest.mark.parametrize("seed", range(10))
def test_a_recording_has_the_same_windows_however_it_comes(said, seed):
    generator = np.random.default_rng(seed)
    at, spans = 0.0, []
    for _ in range(80):
        at += generator.choice([0.07, 0.1, 0.5, 1.1, 3, 40])
        spans.append((at, at := at + generator.choice([0.1, 2, 5, 12, 45]) * generator.uniform()))
    said(*spans)
    noise = Waveform.of(generator.normal(0, 0.1, int((at + 1) * SECOND)).astype(np.float32))
    steps = generator.integers(1, 60 * SECOND, 1000)
    coming = cut_incoming(InSteps(noise.pcm, steps), 30, VadOptions())
    whole = cut(noise, WHOLE)
    for one, two in zip(coming, whole, strict=True):
        assert [(p.offset, p.stop) for p in one.parts] == [(p.offset, p.stop) for p in two.parts]
        assert one.speech == two.speech


def test_a_window_is_told_before_the_rest_has_come(said):
    said(*((at, at + 9.5) for at in range(0, 290, 10)))
    coming = InSteps(Waveform.of(silence(300)).pcm, [SECOND] * 300)
    behind = [
        coming.count / SECOND - window.parts[-1].stop / SECOND
        for window in cut_incoming(coming, 30, VadOptions())
    ]
    assert len(behind) > 8
    assert max(behind[:-1]) < 30


def test_a_window_knows_the_speech_in_it_and_no_other(said):
    said((1, 20), (21, 28), (29, 45), (60, 70))
    for window in cut(Waveform.of(silence(80)), WHOLE):
        begin, end = window.parts[0].offset, window.parts[-1].stop
        assert window.speech
        assert all(begin <= one.start < one.stop <= end for one in window.speech)


def test_speech_without_a_safe_pause_is_one_window(said):
    said((0, 20), (20.1, 40), (40.3, 50))
    windows = cut(Waveform.of(silence(51)), WHOLE)
    assert [window.duration_ms for window in windows] == [40_150, 10_150]


def test_a_piece_of_a_window_ends_in_a_quiet_place(said):
    said((0, 45))
    loud = np.concatenate([tone(27), silence(0.5), tone(17.5)])
    (window,) = cut(Waveform.of(loud), WHOLE)
    piece, rest = first_piece(window, 30)
    assert 27 <= piece.duration_ms / 1000 <= 27.5
    assert rest.start_ms == piece.duration_ms
    assert first_piece(rest, 30) == (rest, None)


def test_times_of_a_window_are_the_recordings(said):
    said((10, 12), (40, 42))
    (window,) = cut(Waveform.of(silence(60)), WHOLE)
    assert (window.start_ms, window.duration_ms) == (9700, 5200)
    assert [window.time_of(ms) for ms in (0, 1000, 2600, 3600, 5200, 9000)] == [
        9700, 10_700, 39_700, 40_700, 42_300, 42_300,
    ]  # fmt: skip
    assert window.time_of(2600, is_end=True) == 12_300  # what ends there ends with the first part
    assert [window.point_of(ms) for ms in (9700, 12_300, 20_000, 40_700, 99_000)] == [
        0, 2600, 2600, 3600, 5200,
    ]  # fmt: skip


def test_a_window_knows_how_much_speech_is_left_of_it(said):
    said((10, 12), (40, 42))
    (window,) = cut(Waveform.of(silence(60)), WHOLE)
    assert [window.speech_ms_after(ms) for ms in (0, 1300, 2600, 3900, 5200)] == [
        4000, 3000, 2000, 1000, 0,
    ]  # fmt: skip
    rest = window.after(3600)
    assert (rest.start_ms, rest.duration_ms) == (40_700, 1600)
    assert rest.speech_ms_after(0) == 1300


def test_a_window_is_halved_in_its_longest_pause(said):
    said((0, 4), (4.2, 9), (10, 12), (12.1, 20))
    (window,) = cut(Waveform.of(silence(21)), WHOLE)
    middle = window.middle()
    assert middle == 9500
    first, second = window.before(middle), window.after(middle)
    assert (first.start_ms, first.duration_ms, second.start_ms) == (0, 9500, 9500)
    assert first.duration_ms + second.duration_ms == window.duration_ms


def test_where_parts_meet_is_a_pause_too(said):
    said((10, 14), (40, 44))
    (window,) = cut(Waveform.of(silence(60)), WHOLE)
    assert window.middle() == 4600
    assert (window.before(4600).duration_ms, window.after(4600).start_ms) == (4600, 39_700)
