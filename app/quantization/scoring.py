"""What parts of a source lose, scored and measured in the quantizer's process, and kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.checkpoints.result_cache import ResultCache
from app.quantization.quantizer_process import OnProgress, Quantizer
from app.recordings.read import digest
from app.recordings.spec import Recordings
from app.sources.source import Source
from app.tuning.groups import SCHEMES
from app.tuning.losses import Schemes

WINDOWS = 24
ASSIGNMENTS = 12  # that a score's unit is found by
_VERSION = 1  # raised when a score or how losses are measured changes


class Scoring:
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
