"""A score's sum is turned into nats by a few measured assignments."""

import pytest

from app.tuning.losses import factor, losses, total

SCORES = {
    "a W8A8": {"fisher": 1.0}, "a W4A16 g32": {"fisher": 4.0},
    "b W8A8": {"fisher": 2.0}, "b W4A16 g32": {"fisher": 8.0},
}  # fmt: skip


def measured(kl, **schemes):
    return {"schemes": schemes, "kl": kl}


def test_what_is_not_quantized_loses_nothing():
    assert total(SCORES, "fisher", {"a": "none", "b": "W8A8"}) == 2.0


def test_losses_are_scores_in_nats():
    several = [measured(0.03, a="W8A8", b="W8A8"), measured(0.12, a="W4A16 g32", b="W4A16 g32")]
    assert factor(SCORES, "fisher", several) == pytest.approx(0.01)
    found = losses({"scores": SCORES, "assignments": several}, "fisher")
    assert found["b W4A16 g32"] == pytest.approx(0.08)


def test_the_factor_is_between_what_several_assignments_say():
    several = [measured(0.03, a="W8A8", b="W8A8"), measured(0.48, a="W4A16 g32", b="W4A16 g32")]
    assert factor(SCORES, "fisher", several) == pytest.approx(0.02)


def test_an_assignment_that_loses_nothing_measurable_does_not_count():
    several = [measured(0.0, a="none", b="none"), measured(-1e-9, a="W8A8", b="none"),
               measured(0.03, a="W8A8", b="W8A8")]  # fmt: skip
    assert factor(SCORES, "fisher", several) == pytest.approx(0.01)
