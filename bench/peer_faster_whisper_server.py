"""faster-whisper behind HTTP, for bench/throughput.py. It runs in an environment of its own,
without ours:

PYTHON -m bench.peer_faster_whisper_server MODEL PORT TYPE WORKERS THREADS

TYPE is what it computes in. A recording of minutes goes behind a detector and in batches; any other
window after window, without one.
"""

import argparse
from io import BytesIO
from typing import Any

from bench.peer_server import serve

BATCH = 8  # windows at once, which is the package's default


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_faster_whisper_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model")
    wanted.add_argument("port", type=int)
    wanted.add_argument("compute_type")
    wanted.add_argument("workers", type=int)
    wanted.add_argument("threads", type=int)
    asked = wanted.parse_args()

    from faster_whisper import BatchedInferencePipeline, WhisperModel

    whisper = WhisperModel(
        asked.model,
        device="cpu",
        compute_type=asked.compute_type,
        num_workers=asked.workers,
        cpu_threads=asked.threads,
    )
    in_batches = BatchedInferencePipeline(whisper)

    def text_of(recording: bytes, language: str, batched: bool) -> str:
        options: dict[str, Any] = {"language": language, "beam_size": 1}
        if batched:
            options |= {"batch_size": BATCH, "vad_filter": True}
        heard, _ = (in_batches if batched else whisper).transcribe(BytesIO(recording), **options)
        return "".join(one.text for one in heard)

    serve(asked.port, text_of)


if __name__ == "__main__":
    main()
