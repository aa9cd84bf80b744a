"""Pauses that grow, an end to them, and a fresh start for what served well."""

import pytest

from app.serving.restarts import Restarts
from tests.waiting import Clock


@pytest.fixture
def clock():
    return Clock()


def test_pauses_double_up_to_a_minute(clock):
    restarts = Restarts(9, clock)
    assert [restarts.lost() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("most", [0, 1, 5])
def test_there_are_as_many_as_the_setting_says(clock, most):
    restarts = Restarts(most, clock)
    assert all(restarts.lost() for _ in range(most))
    assert restarts.lost() is None


def test_a_start_is_due_once_its_pause_is_over(clock):
    restarts = Restarts(5, clock)
    restarts.lost()
    assert not restarts.due
    clock.now += 1
    assert restarts.due


def test_an_engine_that_served_for_a_good_while_is_a_fresh_start(clock):
    restarts = Restarts(2, clock)
    assert [restarts.lost(), restarts.lost()] == [1, 2]
    restarts.serves()
    clock.now += 300
    assert restarts.lost() == 1


def test_one_that_dies_again_and_again_is_not(clock):
    restarts = Restarts(2, clock)
    for pause in (1, 2, None):
        restarts.serves()
        clock.now += 299
        assert restarts.lost() == pause


def test_starts_that_fail_long_after_a_good_while_count_on(clock):
    restarts = Restarts(2, clock)
    restarts.serves()
    clock.now += 300
    assert restarts.lost() == 1
    clock.now += 300
    assert restarts.lost() == 2
