"""What a choice of schemes is expected to lose: a score's sum, in units of the divergence measured.

The scores are the quantizer's (app/quantizer/sensitivity.py). Which of them ranks assignments best
is measured by `make bench-sensitivity`. A score's sum has units of its own; a few random
assignments are measured, and one factor, their geometric mean's, makes nats a token of it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.checkpoints.result_cache import ResultCache
from app.quantization.quantizer_process import OnProgress, Quantizer
from app.recordings.read import digest
from app.recordings.spec import Recordings
from app.sources.source import Source
from app.tuning.groups import SCHEMES

SCORE = "gradient"  # of what `make bench-sensitivity` compares
WINDOWS = 24
ASSIGNMENTS = 12  # that the factor is found by
_VERSION = 1  # raised when a score or how losses are measured changes

Scores = Mapping[str, Mapping[str, float]]  # "group scheme" to score's name to score
Schemes = Mapping[str, str]


class Losses:
    """Scores and measures what a source loses. Blocking, for minutes the first time; a run that was
    ended goes on where it was."""

    def __init__(
        self, quantizer: Quantizer, source: Source, recordings: Recordings, cache: Path
    ) -> None:
        self._quantizer = quantizer
        self._memo = ResultCache(cache / "sensitivities")
        self._key = ResultCache.key(
            version=_VERSION,
            source=source.identity(),
            recordings=digest(recordings),
            quantizer=quantizer.versions(),
            counts=(WINDOWS, ASSIGNMENTS),
            schemes=SCHEMES,
        )
        self._job = {
            "folder": str(source.folder),
            "recordings": recordings.model_dump(mode="json"),
            "windows": WINDOWS,
            "schemes": SCHEMES,
            "assignments": ASSIGNMENTS,
            "referee": False,
            "done": str(cache / "sensitivities" / f"{self._key}.done.json"),
        }

    def scored(self, progress: OnProgress) -> dict[str, Any]:
        """Return scores and measured assignments. Raises StartupError."""
        found = self._memo.get(self._key)
        if found is None:
            found = self._quantizer.score(self._job, progress)
            self._memo.put(self._key, found)
        return dict(found)

    def measured(self, several: Sequence[Schemes], progress: OnProgress) -> list[float]:
        """Return what assignments do lose, rounded to nearest, in nats a token. Raises
        StartupError."""
        further = [dict(one) for one in several]
        found = self._quantizer.score(self._job | {"further": further}, progress)
        return [one["kl"] for one in found["further"]]


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
