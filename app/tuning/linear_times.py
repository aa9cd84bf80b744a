"""Times of a device's linear layers: measured once, kept under the device's fingerprint.

What varies by more than a fifth from round to round is measured again, and told where it still
does.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.checkpoints.device import fingerprint
from app.checkpoints.result_cache import ResultCache
from app.errors import EngineFailed
from app.models.base import Device
from app.models.whisper_vllm import forkserver
from app.tuning.groups import SCHEMES, WINDOW_ROWS, Group

ROWS = (1, 4, 16, WINDOW_ROWS)
MOST_SPREAD = 0.2  # between rounds, as a share of their median
_MOST_SECONDS = 1800
_PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Timed:
    """One layer under one scheme with so many rows. seconds: of a call, the median of the rounds.
    spread: between the quartiles of the rounds, as a share of it."""

    shape: tuple[int, int]
    scheme: str
    rows: int
    seconds: float
    spread: float
    kernel: str

    @property
    def unsteady(self) -> bool:
        return self.spread > MOST_SPREAD

    @property
    def key(self) -> tuple[int, int, str, int]:
        return (*self.shape, self.scheme, self.rows)


Asked = Sequence[tuple[int, int]]


class LinearTimes:
    """Times by shape, scheme and rows."""

    def __init__(self, several: Iterable[Timed]) -> None:
        self.all = list(several)
        self._seconds = {one.key: one.seconds for one in self.all}

    def seconds(self, group: Group, scheme: str, rows: int) -> float:
        """Return the seconds of one multiplication."""
        return self._seconds[(*group.shape, scheme, rows)]

    @property
    def unsteady(self) -> list[Timed]:
        return [one for one in self.all if one.unsteady]

    @property
    def kernels(self) -> dict[str, str]:
        """Scheme to the kernel that vLLM chose for it."""
        return {one.scheme: one.kernel for one in self.all}


def measured(
    groups: Sequence[Group], facts: Mapping[str, Any], cache: Path, device: Device
) -> LinearTimes:
    """Return the times of all shapes of the groups, from the cache or measured now. Blocking, for a
    minute. Raises EngineFailed."""
    shapes = sorted({group.shape for group in groups})
    memo = ResultCache(cache / "costs")
    key = ResultCache.key(device=fingerprint(facts), shapes=shapes, schemes=SCHEMES, rows=ROWS)
    rows = memo.get(key)
    if rows is None:
        rows = _steady(shapes, str(facts["dtype"]), device)
        memo.put(key, rows)
    return LinearTimes(map(timed, rows))


def timed(row: Mapping[str, Any]) -> Timed:
    """Return what a row of linear_timing says."""
    seconds = row["seconds"]
    middle = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    shape = (row["inputs"], row["outputs"])
    spread = (high - low) / middle
    return Timed(shape, row["scheme"], row["rows"], middle, spread, row["kernel"])


def _steady(shapes: Asked, dtype: str, device: Device) -> list[dict[str, Any]]:
    """Time all shapes; those that vary, once more."""
    found = _run(shapes, dtype, device)
    again = sorted({timed(row).shape for row in found if timed(row).unsteady})
    return merged(found, _run(again, dtype, device)) if again else found


def merged(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of two runs, the steadier one's where both have it."""
    best = {timed(row).key: row for row in first}
    for row in second:
        one = timed(row)
        if one.spread <= timed(best[one.key]).spread:
            best[one.key] = row
    return list(best.values())


def _run(shapes: Asked, dtype: str, device: Device) -> list[dict[str, Any]]:
    job = {"shapes": shapes, "schemes": SCHEMES, "rows": ROWS, "dtype": dtype, "device": device}
    answer = subprocess.run(
        [sys.executable, "-m", "app.models.whisper_vllm.linear_timing"],
        input=json.dumps(job),
        env=forkserver.environment(device, "error") | os.environ | {"PYTHONPATH": str(_PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_MOST_SECONDS,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no word"])[-1]
        raise EngineFailed(f"vLLM's layers could not be timed: {last}.", "Its log says more.")
    return [json.loads(line) for line in answer.stdout.splitlines()]
