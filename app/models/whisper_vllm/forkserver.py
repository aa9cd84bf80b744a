"""The forkserver: the process that imports vLLM, and from which engines' processes are forked.

Importing vLLM takes most of a start. The forkserver does it once, while the server process, which
never does, comes up beside it; what it has imported it shares with every engine. It has no threads,
which the server process, already answering HTTP, has: forking that one would not be safe.
"""

import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from typing import Any

from app.models.base import Device
from app.process import counting

SERVER_PID = "_MARLINSCRIBE_SERVER_PID"  # the process that the forkserver ends with
_THREADS = "OMP_NUM_THREADS"
# How often a thread of OpenMP that is done looks whether the others are before it sleeps. libgomp's
# own count takes milliseconds: where another has lost its processor to something else (audio that
# is decoded, a neighbour), this one's does nothing all that time. With a tenth of this count they
# sleep within a step. On another architecture a look takes another time.
BRIEF_WAITS = {"GOMP_SPINCOUNT": "10000"} if platform.machine() == "x86_64" else {}
_WORKERS = {"cpu": "vllm.v1.worker.cpu_worker", "cuda": "vllm.v1.worker.gpu_worker"}

_started_with: tuple[Device, Mapping[str, str]] | None = None


def start(device: Device, environment: Mapping[str, str]) -> None:
    """Start the forkserver. Call this from the main thread: the forkserver lives as long as that
    does.

    `environment` is set in this process too, where a variable is not set yet, all but the count of
    OpenMP's threads: what is computed here takes milliseconds, and idle threads would spin on the
    engine's cores. What the engine sees is fixed from here on.
    """
    global _started_with  # noqa: PLW0603  a process has one fork server, as it has one environment
    _started_with = device, environment
    threads_are_given = _THREADS in os.environ
    for name, value in environment.items():
        os.environ.setdefault(name, value)  # the operator's own word comes first
    os.environ[SERVER_PID] = str(os.getpid())
    multiprocessing.set_forkserver_preload(
        [
            "app.models.whisper_vllm.forkserver_preload",
            "app.models.whisper_vllm.engine_process",
            "vllm.v1.engine.core",
            "vllm.v1.executor.uniproc_executor",
            "vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors",
            _WORKERS[device],
            "app.models.whisper_vllm.forkserver_ready",
        ]
    )
    forkserver.ensure_running()
    if not threads_are_given:
        os.environ.pop(_THREADS, None)


def revive() -> None:
    """Start the forkserver again if it was started and has died. Call this from the main thread:
    multiprocessing would start the forkserver from the thread that loads an engine, and it would
    die with that thread."""
    if _started_with:
        start(*_started_with)


def process(run: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Return a process that is yet to start, forked from the forkserver, and known to
    `app.process.children_in_time`. Under WSL, where NVIDIA's management library does not survive a
    fork, it imports everything anew."""
    method = "spawn" if _in_wsl() else "forkserver"
    made: BaseProcess = counting(get_context(method)).Process(target=run, args=arguments)
    return made


def _in_wsl() -> bool:
    return "microsoft" in " ".join(platform.uname()).lower()


def wait_until_ready() -> None:
    """Wait until it has imported what an engine needs and forks at once: for seconds the first time
    after a start of its own. Blocking."""
    if _started_with:
        child = counting(get_context("forkserver")).Process(target=_nothing)
        child.start()
        child.join()


def _nothing() -> None:
    """What a child does that only shows that there can be one."""


def environment(device: Device, log_level: str) -> dict[str, str]:
    """Return the variables that vLLM reads when it is imported or when its engine starts."""
    common = {
        "VLLM_USE_V2_MODEL_RUNNER": "0",  # the logits processor is written for V1
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "DEBUG" if log_level == "debug" else "ERROR",
    }
    if device == "cuda":
        return common
    own = {
        _THREADS: str(len(os.sched_getaffinity(0))),
        # The engine's core runs in the process that steps it, and its worker in the core.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # Where AMX is, the default turns W4A16 into W4A8 without a word.
        "VLLM_CPU_INT4_W4A8": "0",
        # vLLM compiles the ranking of logprobs at the first request that wants any: seconds of
        # a compiler for an operation of microseconds.
        "TORCHDYNAMO_DISABLE": "1",
    }
    return common | own | BRIEF_WAITS
