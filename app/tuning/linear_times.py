"""Times of a device's linear layers, and of what an encoder's positions attend to behind one:
measured once, kept under the device's fingerprint.

What varies by more than a fifth from round to round is measured again, and told where it still
does.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from app.checkpoints.device import fingerprint
from app.checkpoints.result_cache import ResultCache
from app.errors import EngineFailed
from app.models.base import Device
from app.models.whisper_vllm import forkserver
from app.tuning.groups import SCHEMES, WINDOW_ROWS, Group

ROWS = (1, 4, 16, WINDOW_ROWS)
MOST_SPREAD = 0.2  # between rounds, as a share of their median
_MOST_SECONDS = 1800
_PROCESS = ["-m", "app.models.whisper_vllm.linear_timing"]
_PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Timed:
    """One layer under one scheme with so many rows; without outputs, an encoder's attention behind
    such a layer. seconds: of a call, the median of the rounds. spread: between the quartiles of the
    rounds, as a share of it."""

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


Shapes = Sequence[tuple[int, int]]
OnProgress = Callable[[int, int], None]  # layers that were timed, and of how many


class LinearTimes:
    """Times by shape, scheme and rows."""

    def __init__(self, several: Iterable[Timed]) -> None:
        self.all = list(several)
        self._seconds = {one.key: one.seconds for one in self.all}

    def seconds(self, group: Group, scheme: str, rows: int) -> float:
        """Return the seconds of one multiplication, and of the attention by what comes of it."""
        seconds = self._seconds[(*group.shape, scheme, rows)]
        attention = self._seconds[(group.inputs, 0, scheme, rows)] if group.attends else 0.0
        return seconds + attention

    @property
    def unsteady(self) -> list[Timed]:
        return [one for one in self.all if one.unsteady]

    @property
    def kernels(self) -> dict[str, str]:
        """Scheme to the kernel that vLLM chose for it."""
        return {one.scheme: one.kernel for one in self.all if one.shape[1]}


def costs_key(groups: Sequence[Group], facts: Mapping[str, Any]) -> str:
    """Return what the times of the groups' shapes on a device are kept under."""
    return ResultCache.key(
        device=fingerprint(facts), shapes=shapes(groups), schemes=SCHEMES, rows=ROWS
    )


def shapes(groups: Sequence[Group]) -> Shapes:
    """Return the shapes that are timed for the groups."""
    attention = {(group.inputs, 0) for group in groups if group.attends}
    return sorted({group.shape for group in groups} | attention)


def timed(row: Mapping[str, Any]) -> Timed:
    """Return what a row of linear_timing says."""
    seconds = row["seconds"]
    middle = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    shape = (row["inputs"], row["outputs"])
    spread = (high - low) / middle
    return Timed(shape, row["scheme"], row["rows"], middle, spread, row["kernel"])


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


class LayerTimer:
    """Times layers in a process of its own. With `idle_priority` that runs only while nobody else
    wants the processors."""

    def __init__(self, device: Device, idle_priority: bool = False) -> None:
        self._device = device
        self._idle_priority = idle_priority
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False

    def rows(
        self, groups: Sequence[Group], dtype: str, on_progress: OnProgress = lambda *_: None
    ) -> list[dict[str, Any]]:
        """Time all shapes of the groups; those that vary, once more. Return linear_timing's rows,
        for LinearTimes. Blocking, for a minute. Raises EngineFailed."""
        found = self._run(shapes(groups), dtype, on_progress)
        again = sorted({timed(row).shape for row in found if timed(row).unsteady})
        return merged(found, self._run(again, dtype, on_progress)) if again else found

    def stop(self) -> None:
        """End the process, if one runs, from another thread."""
        self._stopped = True
        if self._child is not None:
            self._child.kill()

    def _run(self, shapes: Shapes, dtype: str, on_progress: OnProgress) -> list[dict[str, Any]]:
        job = {
            "shapes": shapes, "schemes": SCHEMES, "rows": ROWS, "dtype": dtype,
            "device": self._device, "parent": os.getpid(), "idle_priority": self._idle_priority,
        }  # fmt: skip
        total = len(shapes) * len(SCHEMES) * len(ROWS)
        with tempfile.TemporaryFile("w+") as log, self._started(log) as child:
            limit = threading.Timer(_MOST_SECONDS, child.kill)
            limit.start()
            try:
                found = _followed(child, json.dumps(job), total, on_progress)
                status = child.wait()
            finally:
                limit.cancel()
                child.kill()
                self._child = None
            if status or len(found) < total:
                raise _failed(log)
        return found

    def _started(self, log: IO[str]) -> "subprocess.Popen[str]":
        self._child = subprocess.Popen(
            [sys.executable, *_PROCESS],
            env=forkserver.environment(self._device, "error")
            | os.environ
            | {"PYTHONPATH": str(_PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # a terminal's ^C is the server's to handle
        )
        if self._stopped:
            self._child.kill()
        return self._child


def _followed(
    child: "subprocess.Popen[str]", job: str, total: int, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Give the child its job; return the rows that it prints until it ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):  # it died already: how is told by whoever waits for it
        child.stdin.write(job)
        child.stdin.close()
    found = []
    for line in child.stdout:
        found.append(json.loads(line))
        on_progress(len(found), total)
    return found


def _failed(log: IO[str]) -> EngineFailed:
    log.seek(0)
    last = (log.read().strip().splitlines() or ["no word"])[-1]
    return EngineFailed(f"vLLM's layers could not be timed: {last}.", "Its log says more.")
