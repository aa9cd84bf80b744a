"""The servers of bench/throughput.py: ours, and what people would pick instead, on the same
weights."""

import argparse
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.models.whisper_vllm.forkserver import BRIEF_WAITS
from bench.left_out import left_out
from bench.memory import family
from bench.options import model_settings
from bench.transcribers import await_ready, vllm_server
from harness.server import Server, free_port

DEFAULT, SOURCE = "Marlinscribe", "Marlinscribe, unquantized"
_WITHOUT = ", without zentorch"


@dataclass
class Peer:
    """A server that answers as OpenAI's does. fields: what its requests say. batched: what they say
    beside, of a recording of minutes."""

    name: str
    port: int
    pid: int
    fields: Mapping[str, str]
    batched: Mapping[str, str] = field(default_factory=dict)

    def asked(self, sort: str) -> dict[str, str]:
        """Return the fields of a request."""
        return {**self.fields, **(self.batched if sort == "long" else {})}

    def processor_seconds(self) -> float:
        """Return the processors' time of all of its processes."""
        return sum(one.cpu_times().user + one.cpu_times().system for one in family(self.pid))


def add_peers(wanted: argparse.ArgumentParser) -> None:
    """Add the options that say who is asked beside ours."""
    wanted.add_argument(
        "--own-kernels", action="store_true", help="ours without zentorch's kernels too"
    )
    wanted.add_argument("--faster-whisper", metavar="PYTHON", help="of its environment")
    wanted.add_argument("--peer-model", metavar="FOLDER", help="the weights for CTranslate2")
    wanted.add_argument("--vllm", metavar="FOLDER", help="the weights for vLLM")
    wanted.add_argument("--transformers", metavar="PYTHON", help="of an environment that has it")
    wanted.add_argument("--weights", metavar="FOLDER", help="the weights for transformers")
    wanted.add_argument("--whisper-cpp", metavar="PYTHON", help="of pywhispercpp's environment")
    wanted.add_argument(
        "--ggml", metavar="FILE", nargs="+", default=[], help="the weights for whisper.cpp"
    )
    wanted.add_argument(
        "--float32", action="store_true", help="faster-whisper and transformers in float32 too"
    )


def everybody(asked: argparse.Namespace) -> Iterator[Any]:
    """Yield a context for each peer in which it is up."""
    kinds = {DEFAULT: model_settings(asked)}
    if asked.quantization != "none":
        kinds[SOURCE] = model_settings(asked) | {"quantization": "none"}
    for name, settings in kinds.items():
        yield ours(name, settings)
        if asked.own_kernels:
            yield ours(name + _WITHOUT, settings, has_zentorch=False)
    yield from others(asked, len(os.sched_getaffinity(0)))


def others(asked: argparse.Namespace, processors: int) -> Iterator[Any]:
    """Yield a context for each peer that is none of ours: where a worker is one thread's, also with
    a worker on each processor."""
    splits = ((1, processors), (processors, 1))
    more = ["float32"] if asked.float32 else []
    if asked.faster_whisper:
        for kind in ("int8", *more):
            for workers, threads in splits:
                yield faster_whisper(asked, kind, workers, threads)
    if asked.whisper_cpp:
        for file in asked.ggml:
            for workers, threads in splits:
                yield whisper_cpp(asked.whisper_cpp, file, workers, threads)
    if asked.transformers:
        for kind in ("bfloat16", *more):
            yield transformers(asked, kind, processors)
    if asked.vllm:
        yield vllm(asked.vllm, processors)


@contextmanager
def ours(name: str, settings: dict[str, Any], *, has_zentorch: bool = True) -> Iterator[Peer]:
    # vLLM does without what cannot be imported.
    with left_out("zentorch") as folder:
        prefix = () if has_zentorch else ("env", f"PYTHONPATH={folder}")
        with Server(prefix=prefix, **settings) as server:
            yield Peer(name, server.port, server.process.pid, {"language": "en"})


@contextmanager
def vllm(folder: str, processors: int) -> Iterator[Peer]:
    """By default it leaves a processor free; here it may have all of them, as the others do, and
    its threads wait as briefly as ours (BRIEF_WAITS)."""
    bound = f"0-{processors - 1}"
    with vllm_server(folder, VLLM_CPU_OMP_THREADS_BIND=bound, **BRIEF_WAITS) as server:
        url, pid = server
        port = int(url.rsplit(":", 1)[1])
        yield Peer("vllm serve, bf16", port, pid, {"language": "en", "model": folder})


@contextmanager
def program(name: str, python: str, module: str, *arguments: str) -> Iterator[Peer]:
    """Run a peer's server in its own environment: it is told its weights, a port, and the rest."""
    port = free_port()
    weights, *rest = arguments
    command = [python, "-m", f"bench.{module}", weights, str(port), *rest]
    with subprocess.Popen(command) as process:
        try:
            await_ready(f"http://127.0.0.1:{port}/", process)
            yield Peer(name, port, process.pid, {"language": "en"}, {"batched": "1"})
        finally:
            process.terminate()


def faster_whisper(asked: argparse.Namespace, kind: str, workers: int, threads: int) -> Any:
    return program(
        f"faster-whisper {kind}, {workers} x {threads}",
        asked.faster_whisper,
        "peer_faster_whisper_server",
        *(asked.peer_model, kind, str(workers), str(threads)),
    )


def whisper_cpp(python: str, file: str, workers: int, threads: int) -> Any:
    return program(
        f"whisper.cpp {Path(file).stem}, {workers} x {threads}",
        python,
        "peer_whisper_cpp_server",
        *(file, str(workers), str(threads)),
    )


def transformers(asked: argparse.Namespace, kind: str, threads: int) -> Any:
    return program(
        f"transformers {kind}",
        asked.transformers,
        "peer_transformers_server",
        *(asked.weights, kind, str(threads)),
    )
