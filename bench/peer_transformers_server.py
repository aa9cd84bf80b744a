"""transformers behind HTTP, for bench/throughput.py. It runs in an environment of its own, without
ours, which has PyAV too:

PYTHON -m bench.peer_transformers_server MODEL PORT TYPE THREADS

MODEL is a folder in Hugging Face's layout, TYPE a dtype of torch's. Clips that wait are decoded in
one batch, up to sixteen; a recording of minutes in pieces of 30 s that overlap, eight at once,
which are joined right where they have no timestamps.
"""

import argparse
import threading
from concurrent.futures import Future
from queue import Empty, Queue
from typing import Any

from bench.peer_server import samples_of, serve

CLIPS, PIECES = 16, 8
_RATE = 16_000
_PIECE = 30  # seconds
Job = tuple[Any, str, bool, "Future[str]"]


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_transformers_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model")
    wanted.add_argument("port", type=int)
    wanted.add_argument("dtype")
    wanted.add_argument("threads", type=int)
    asked = wanted.parse_args()

    import torch
    from transformers import pipeline

    torch.set_num_threads(asked.threads)
    pipe = pipeline(
        "automatic-speech-recognition", asked.model, dtype=getattr(torch, asked.dtype), device="cpu"
    )
    jobs: Queue[Job] = Queue()
    threading.Thread(target=work, args=(jobs, pipe), daemon=True).start()

    def text_of(recording: bytes, language: str, batched: bool) -> str:
        told: Future[str] = Future()
        jobs.put((samples_of(recording), language, batched, told))
        return told.result()

    serve(asked.port, text_of)


def work(jobs: "Queue[Job]", pipe: Any) -> None:
    """Decode what waits, for good: a recording of minutes alone, clips of a language together."""
    while True:
        several = taken(jobs)
        try:
            texts = transcribed(pipe, several)
        except Exception as error:
            for *_, told in several:
                told.set_exception(error)
        else:
            for (*_, told), text in zip(several, texts, strict=True):
                told.set_result(text)


def taken(jobs: "Queue[Job]") -> list[Job]:
    """Wait for a job, and take with it what is of its kind and waits right behind it."""
    several = [jobs.get()]
    while not several[0][2] and len(several) < CLIPS:
        try:
            one = jobs.get_nowait()
        except Empty:
            break
        if one[1:3] != several[0][1:3]:
            jobs.put(one)  # behind the others: it is another language, or long
            break
        several.append(one)
    return several


def transcribed(pipe: Any, several: list[Job]) -> list[str]:
    """Return the text of each. Tokens are the likeliest, timestamps among them, but for those of a
    recording of minutes: with them transformers 5.19 tells again what pieces share."""
    _, language, batched, _ = several[0]
    options: dict[str, Any] = {"chunk_length_s": _PIECE, "batch_size": PIECES} if batched else {}
    generation: dict[str, Any] = {"num_beams": 1, "do_sample": False}
    if pipe.model.generation_config.is_multilingual:  # or it would refuse to be told
        generation |= {"language": language, "task": "transcribe"}
    told = pipe(
        [{"raw": samples, "sampling_rate": _RATE} for samples, *_ in several],
        return_timestamps=not batched,
        generate_kwargs=generation,
        **({"batch_size": len(several)} | options),
    )
    return [one["text"] for one in told]


if __name__ == "__main__":
    main()
