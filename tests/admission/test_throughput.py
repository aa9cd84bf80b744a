"""Throughput: audio by the time that was worked on it."""

import pytest

from app.admission.throughput import Throughput
from tests.waiting import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Throughput(clock)


def work(pace, clock, windows, seconds, full=True):
    """Windows of 30 s, each done after so many seconds."""
    pace.note(running=2, full=full)
    for _ in range(windows):
        clock.now += seconds
        pace.note(running=2, full=full, audio=30)


def test_nothing_is_known_at_first(pace):
    assert (pace.full, pace.known) == (None, None)


def test_two_windows_are_not_enough_to_believe_it(pace, clock):
    work(pace, clock, 2, 1)
    assert pace.full is None


def test_it_is_audio_by_time(pace, clock):
    work(pace, clock, 5, 3)
    assert pace.full == pytest.approx(10)
    assert pace.known == pytest.approx(10)


def test_idle_time_does_not_count(pace, clock):
    work(pace, clock, 5, 3)
    pace.note(running=0, full=False)
    clock.now += 3600
    pace.note(running=1, full=False)
    assert pace.full == pytest.approx(10)


def test_a_lone_window_is_no_measure_of_a_full_engine(pace, clock):
    work(pace, clock, 5, 15, full=False)
    assert pace.full is None
    assert pace.known == pytest.approx(2)
    work(pace, clock, 5, 3)
    assert pace.full == pytest.approx(10)
    assert pace.known == pytest.approx(10)


def test_what_it_did_lately_counts_most(pace, clock):
    work(pace, clock, 20, 30)
    work(pace, clock, 100, 3)
    assert 9 < pace.full < 10


def test_a_standstill_is_not_taken_for_work(pace, clock):
    work(pace, clock, 5, 3)
    clock.now += 3600  # the process was paused
    pace.note(running=2, full=True, audio=30)
    work(pace, clock, 5, 3)
    assert pace.full > 3
