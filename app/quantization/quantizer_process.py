"""The service's side of the quantizer's process: starting it, following it, and translating how it
ends.

The process knows three kinds of work: to make a checkpoint, to compare one with its source, and to
score what parts of one would lose.
"""

import json
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from app.checkpoints.recipe import Recipe
from app.errors import (
    BadRecipe,
    DiskFull,
    NoCalibration,
    OutOfMemory,
    QuantizerFailed,
    StartupError,
)
from app.recordings.spec import Recordings

log = logging.getLogger(__name__)

_PROJECT = Path(__file__).resolve().parent.parent.parent
_NAMED = ("llmcompressor", "compressed-tensors", "transformers")
_OWN_VERSION = "3"  # raised when our part of quantizing changes what comes out
_PRINT_VERSIONS = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)
# OpenMP's threads spin at each barrier by default: beside another busy process, or under a CPU
# quota, that made GPTQ's many small steps several times slower than sleeping does.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
_MEMORY_ADVICE = "Free memory, lower MARLINSCRIBE_CALIBRATION_SAMPLES, or take a smaller model."
_KINDS: dict[str, tuple[type[StartupError], str]] = {
    "no_calibration": (NoCalibration, ""),
    "disk_full": (DiskFull, "Free space, or set MARLINSCRIBE_CACHE_DIR to a larger disk."),
    "out_of_memory": (OutOfMemory, _MEMORY_ADVICE),
    "bad_recipe": (BadRecipe, "Correct the recipe."),
    "failed": (QuantizerFailed, "The quantizer's log, above, says more."),
}


@dataclass(frozen=True)
class Progress:
    """Progress of the work in units: layers of a checkpoint, clips of a comparison. layer: the one
    just done, such as encoder.0; loss: what the method reports of it, where it does."""

    done: int
    total: int
    eta_seconds: float | None
    loss: float | None = None
    layer: str | None = None


OnProgress = Callable[[Progress], None]


class Quantizer:
    """Runs the quantizer's interpreter and overlay in a child process, one job at a time. With
    `idle_priority` the child runs only while nobody else wants the processors."""

    def __init__(self, python: str, overlay: Path | None, idle_priority: bool = False) -> None:
        self._share = "rest" if idle_priority else "own"
        self._python = python
        self._overlay = overlay
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False

    def versions(self) -> dict[str, str]:
        """Return the versions of what decides the result. Raises QuantizerFailed where the
        quantizer is not installed."""
        try:
            answer = subprocess.run(
                [self._python, "-c", _PRINT_VERSIONS, *_NAMED],
                env=self._environment(),
                capture_output=True,
                check=True,
            )
            found: dict[str, str] = json.loads(answer.stdout)
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            raise QuantizerFailed(
                f"llm-compressor is not installed for {self._python}, in {self._overlay}.",
                "Run requirements/install.sh, or set MARLINSCRIBE_QUANTIZER_PYTHON and "
                "MARLINSCRIBE_QUANTIZER_OVERLAY to where it is.",
            ) from error
        return found | {"marlinscribe": _OWN_VERSION}

    def _environment(self) -> dict[str, str]:
        path = [str(p) for p in (self._overlay, _PROJECT) if p is not None]
        return _PATIENT | os.environ | {"PYTHONPATH": os.pathsep.join(path)}

    def make(
        self, folder: Path, out: Path, recipe: Recipe, on_progress: OnProgress
    ) -> dict[str, Any]:
        """Make the checkpoint of the source in `folder` into `out`; return its figures. Blocking.

        Raises a StartupError that says how the child ended.
        """
        job = {"folder": str(folder), "out": str(out), "recipe": recipe.model_dump(mode="json")}
        return self._run("make", job, on_progress)

    def compare(
        self, source: Path, candidate: Path, recordings: Recordings, on_progress: OnProgress
    ) -> dict[str, Any]:
        """Compare a candidate's layers and tokens with its source's (see comparison.py). Blocking.

        Raises as `make` does.
        """
        job = {
            "source": str(source),
            "candidate": str(candidate),
            "recordings": recordings.model_dump(mode="json"),
        }
        return self._run("comparison", job, on_progress)

    def score(self, job: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
        """Score what each fused group loses under each scheme (see sensitivity.py, whose Job this
        is). Blocking.

        Raises as `make` does.
        """
        return self._run("sensitivity", job, on_progress)

    def copy(self, source: str, language: str, samples: int | None, folder: Path) -> None:
        """Copy a hub's set of recordings into a folder (see app/recordings/copying.py), all of it
        where no number of samples is given. Blocking. Raises NoCalibration."""
        module = [self._python, "-m", "app.recordings.copying"]
        child = subprocess.run(
            [*module, source, language, str(samples or 0), str(folder)],
            env=self._environment(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if child.returncode:
            lines = child.stderr.strip().splitlines() or [f"status {child.returncode}"]
            raise NoCalibration(f"{source} was not copied: {lines[-1]}", "")

    def _run(
        self,
        work: Literal["make", "comparison", "sensitivity"],
        job: dict[str, Any],
        on_progress: OnProgress,
    ) -> dict[str, Any]:
        events, child_events = os.pipe()
        try:
            self._child = subprocess.Popen(
                [
                    self._python,
                    "-m",
                    "app.quantizer.child",
                    str(child_events),
                    str(os.getpid()),
                    work,
                    self._share,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[child_events],
                text=True,
                env=self._environment(),
                start_new_session=True,  # a terminal's ^C is the server's to handle
            )
        finally:
            os.close(child_events)
        with self._child as child, os.fdopen(events) as stream:
            if self._stopped:
                child.kill()
            try:
                return _follow(child, stream, json.dumps(job), on_progress)
            finally:
                child.kill()
                self._child = None

    def stop(self) -> None:
        """End the child, if one runs, from another thread."""
        self._stopped = True
        if self._child is not None:
            self._child.kill()


def _follow(
    child: subprocess.Popen[str], events: IO[str], job: str, on_progress: OnProgress
) -> dict[str, Any]:
    """Give the child its job and follow its events until it ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    tail: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=_log_lines, args=(child.stdout, tail), daemon=True)
    reader.start()
    with suppress(BrokenPipeError):  # it died already: how is told below
        child.stdin.write(job)
        child.stdin.close()
    figures: dict[str, Any] | None = None
    error: dict[str, str] = {}
    for line in events:
        event = json.loads(line)
        if event["event"] == "progress":
            on_progress(Progress(**{k: v for k, v in event.items() if k != "event"}))
        elif event["event"] == "warning":
            log.warning("%s", event["message"])
        elif event["event"] == "done":
            figures = event["figures"]
        else:
            error = event
    status = child.wait()
    reader.join(timeout=5)
    if figures is not None and status == 0:
        return figures
    raise _ending(status, error, tail)


def _log_lines(stream: Any, tail: deque[str]) -> None:
    for line in stream:
        if line.strip():
            tail.append(line.rstrip())
            log.debug("quantizer: %s", line.rstrip())


def _ending(status: int, error: dict[str, str], tail: deque[str]) -> StartupError:
    if error:
        kind, advice = _KINDS[error["kind"]]
        if error["kind"] == "failed":
            log.error("quantizer: %s", "\n".join(tail))
        return kind(
            f"Quantization failed: {error['message'].rstrip('.')}.", error.get("advice") or advice
        )
    if status == -signal.SIGKILL:
        return OutOfMemory(
            "The quantizer was killed (SIGKILL): most often the kernel does so when memory is out.",
            _MEMORY_ADVICE,
        )
    log.error("quantizer: %s", "\n".join(tail))
    return QuantizerFailed(f"The quantizer ended with status {status}.", _KINDS["failed"][1])
