"""What a choice of schemes is expected to lose: a score's sum, in units of the divergence measured.

The scores are the quantizer's (app/quantizer/sensitivity.py). Which of them ranks assignments best
is measured by `make bench-sensitivity`. A score's sum has units of its own; a few random
assignments are measured, and one factor, their geometric mean's, makes nats a token of it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

SCORE = "gradient"  # of what `make bench-sensitivity` compares

Scores = Mapping[str, Mapping[str, float]]  # "group scheme" to score's name to score
Schemes = Mapping[str, str]


def total(scores: Scores, score: str, schemes: Schemes) -> float:
    """Add up a score over the groups of an assignment."""
    return sum(
        scores[f"{group} {scheme}"][score] for group, scheme in schemes.items() if scheme != "none"
    )


def factor(scores: Scores, score: str, assignments: Sequence[Mapping[str, Any]]) -> float:
    """Return what a score's sum is multiplied by, to be nats a token."""
    ratios = [
        one["kl"] / summed
        for one in assignments
        if (summed := total(scores, score, one["schemes"])) > 0 and one["kl"] > 0
    ]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else 1.0


def losses(found: Mapping[str, Any], score: str = SCORE) -> dict[str, float]:
    """Return the expected loss of each "group scheme", in nats a token."""
    scores: Scores = found["scores"]
    unit = factor(scores, score, found["assignments"])
    return {key: unit * one[score] for key, one in scores.items()}
