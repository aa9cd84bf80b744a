"""whisper.cpp (pywhispercpp) behind HTTP, for bench/throughput.py. It runs in an environment of its
own, without ours, which has PyAV too:

PYTHON -m bench.peer_whisper_cpp_server MODEL PORT WORKERS THREADS

MODEL is a file of weights, as bench.ggml writes it. Each worker has a context of its own, weights
among it, for one is no two threads'. Windows go one after another, in a recording of minutes too.
"""

import argparse
import os
from queue import Queue
from typing import Any

from bench.peer_server import samples_of, serve


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_whisper_cpp_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model")
    wanted.add_argument("port", type=int)
    wanted.add_argument("workers", type=int)
    wanted.add_argument("threads", type=int)
    asked = wanted.parse_args()

    from pywhispercpp.model import Model

    quiet: dict[str, Any] = {"print_progress": False, "print_realtime": False}
    idle: Queue[Any] = Queue()
    for _ in range(asked.workers):
        idle.put(
            Model(
                os.path.abspath(asked.model),
                redirect_whispercpp_logs_to=None,
                n_threads=asked.threads,
                **quiet,
            )
        )

    def text_of(recording: bytes, language: str, _: bool) -> str:
        samples, model = samples_of(recording), idle.get()
        try:
            return " ".join(one.text for one in model.transcribe(samples, language=language))
        finally:
            idle.put(model)

    serve(asked.port, text_of)


if __name__ == "__main__":
    main()
