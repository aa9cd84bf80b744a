"""The integer program finds what trying everything finds."""

import itertools
from random import Random

import pytest

from app.errors import BadRecipe
from app.tuning.choice import NothingFits, choose, front, undominated
from app.tuning.options import Option, chosen


def random_options(seed, groups=5):
    """As small as real ones: losses of thousandths, seconds of microseconds, bytes of megabytes."""
    chance = Random(seed)
    return {
        f"group {number}": [
            Option(scheme, chance.random() * 1e-4, chance.randrange(10**5, 10**7), loss)
            for scheme, loss in (("none", 0.0), ("W8A8", chance.random() * 1e-4),
                                 ("W4A16 g32", chance.random() * 1e-2))
        ]
        for number in range(groups)
    }  # fmt: skip


def everything(options):
    for schemes in itertools.product(*([one.scheme for one in few] for few in options.values())):
        yield chosen(options, dict(zip(options, schemes, strict=True)))


def best(options, minimise, limits):
    fitting = [
        one
        for one in everything(options)
        if all(one.of(name) <= most for name, most in limits.items())
    ]
    return min((one.of(minimise) for one in fitting), default=None)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("minimise", ["seconds", "bytes", "loss"])
def test_the_choice_is_the_best_of_all_that_keep_the_limits(seed, minimise):
    options = random_options(seed)
    middle = {
        name: sorted(one.of(name) for one in everything(options))[80]
        for name in ("seconds", "bytes", "loss")
    }
    limits = {name: most for name, most in middle.items() if name != minimise}
    expected = best(options, minimise, limits)
    if expected is None:
        with pytest.raises(NothingFits):
            choose(options, minimise, limits)
    else:
        found = choose(options, minimise, limits)
        assert found.of(minimise) == pytest.approx(expected)
        assert all(found.of(name) <= most * (1 + 1e-6) for name, most in limits.items())


@pytest.mark.parametrize("seed", range(4))
def test_a_budget_that_nothing_fits_is_refused_with_the_least_that_would(seed):
    options = random_options(seed)
    least = min(one.bytes for one in everything(options))
    with pytest.raises(NothingFits, match="the least that would do is") as refused:
        choose(options, "seconds", {"bytes": least * 0.9})
    assert refused.value.least["bytes"] == pytest.approx(least)
    assert isinstance(refused.value, BadRecipe)
    assert choose(options, "seconds", {"bytes": refused.value.least["bytes"]}).bytes == least


def test_limits_that_contradict_each_other_are_told_with_what_each_would_have_to_be():
    options = random_options(1)
    smallest = choose(options, "bytes", {})
    limits = {"bytes": smallest.bytes, "loss": smallest.loss / 10}
    with pytest.raises(NothingFits, match="contradict each other") as refused:
        choose(options, "seconds", limits)
    assert refused.value.least["loss"] == pytest.approx(smallest.loss)
    assert refused.value.least["bytes"] == pytest.approx(
        best(options, "bytes", {"loss": limits["loss"]})
    )


def test_a_limit_that_no_other_limit_allows_is_told_as_such():
    options = random_options(2)
    with pytest.raises(NothingFits, match="none would do beside the other limits"):
        choose(options, "seconds", {"bytes": 1.0, "loss": -1.0})


@pytest.mark.parametrize("seed", range(6))
def test_nothing_beats_a_point_of_the_front(seed):
    options = random_options(seed)
    points = front(options, "seconds", {})
    assert len(points) > 1
    for one in everything(options):
        assert not any(
            one.seconds < point.seconds * (1 - 1e-9) and one.loss < point.loss for point in points
        )


def test_the_front_keeps_the_limits():
    options = random_options(3)
    most = sorted(one.bytes for one in everything(options))[100]
    assert all(one.bytes <= most * (1 + 1e-6) for one in front(options, "seconds", {"bytes": most}))


def test_what_another_beats_in_both_is_not_on_the_front():
    options = random_options(4)
    points = undominated(list(everything(options)), "bytes")
    assert points[0].loss == 0
    assert [one.bytes for one in points] == sorted((one.bytes for one in points), reverse=True)
