"""Random assignments are the same every time, and differ from each other."""

import statistics

from app.quantizer.assignments import assignments

GROUPS = [f"{stack}.layers.{layer}.fc1" for stack in ("encoder", "decoder") for layer in range(20)]
SCHEMES = ["none", "W8A8", "W4A16 g32"]


def test_they_are_the_same_every_time():
    assert assignments(GROUPS, SCHEMES, 5) == assignments(GROUPS, SCHEMES, 5)


def test_more_of_them_begin_with_the_same():
    assert assignments(GROUPS, SCHEMES, 9)[:5] == assignments(GROUPS, SCHEMES, 5)


def test_some_have_few_groups_in_four_bits_and_some_have_many():
    counts = [list(one.values()).count("W4A16 g32") for one in assignments(GROUPS, SCHEMES, 50)]
    even = len(GROUPS) / len(SCHEMES)
    assert min(counts) < even / 2
    assert max(counts) > even * 1.5
    assert statistics.stdev(counts) > 5  # with even odds, 3
