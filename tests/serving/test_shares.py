"""Several models in one memory: each has its weights and an equal part of the rest."""

import pytest

from app.errors import EngineFailed
from app.models.base import Footprint
from app.serving.shares import share_out

MIB = 2**20


def test_each_has_its_weights_and_an_equal_part_of_the_rest():
    needs = {"a": Footprint(100, 10, 5), "b": Footprint(300, 10, 5)}
    assert share_out(1000, 0, needs) == {"a": 400, "b": 600}


def test_what_an_engine_leaves_to_other_work_is_left_once():
    """An engine on a CPU takes half of what it counts as free."""
    needs = {"a": Footprint(100, 0, 5), "b": Footprint(100, 0, 5)}
    shares = share_out(2000, 0.5, needs)
    assert sum(shares.values()) / 2 == 1000


def test_what_does_not_fit_is_refused_with_the_arithmetic():
    needs = {"a": Footprint(600 * MIB, 0, 50 * MIB), "b": Footprint(300 * MIB, 0, 100 * MIB)}
    with pytest.raises(EngineFailed) as caught:
        share_out(1000 * MIB, 0, needs)
    assert "650 (a) + 400 (b) = 1050 MiB" in caught.value.message
    assert "1000 MiB may be used" in caught.value.message
    assert "MARLINSCRIBE_MODELS" in caught.value.advice
