"""Time to ready with a cached checkpoint, beside a plain `LLM(...)` of the same vLLM.

Both load the same 4-bit checkpoint, in turn, in one run; on a processor without AVX-512, whose
4-bit kernels are this service's alone, the unquantized one in float32. Ours is ready when a first
second of audio has been decoded; the plain one when its constructor returns, and it is also timed
to its first answer, for that is when it has done the same.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.environment import DEMO_MODEL
from app.process import has_half_precision
from bench.options import parser
from harness.server import DEMO, Server

PLAIN = """
import json, sys, time
started = time.monotonic()
import librosa
from vllm import LLM, SamplingParams
arguments = json.loads(sys.argv[2])
llm = LLM(model=sys.argv[1], max_model_len=448, limit_mm_per_prompt={"audio": 1},
          gpu_memory_utilization=0.5, **arguments)  # the rest may be somebody else's
ready = time.monotonic() - started
audio = librosa.load(sys.argv[3], sr=16000)
prompt = {"encoder_prompt": {"prompt": "", "multi_modal_data": {"audio": audio}},
          "decoder_prompt": "<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"}
text = llm.generate(prompt, SamplingParams(temperature=0, max_tokens=200))[0].outputs[0].text
print("RESULT", json.dumps([ready, time.monotonic() - started, text]))
"""


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.start", __doc__, rounds=3).parse_args(argv)
    with tempfile.TemporaryDirectory() as cache:
        settings, folder, arguments = checkpoint(cache)
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(asked.rounds):
            times.setdefault("marlinscribe serve", []).append(ours(settings))
            times.setdefault("LLM(…, enforce_eager=True)", []).append(
                plain(folder, arguments | {"enforce_eager": True})
            )
            times.setdefault("LLM(…)", []).append(plain(folder, arguments))
    report(times, asked.rounds)


def checkpoint(cache: str) -> tuple[dict[str, Any], Path, dict[str, Any]]:
    """What both load: the service's settings, and the folder and arguments of a plain LLM."""
    if not has_half_precision():
        return {"quantization": "none", "cache_dir": cache}, DEMO_MODEL, {"dtype": "float32"}
    settings: dict[str, Any] = {"cache_dir": cache}
    with Server(**settings):
        pass  # makes it
    (folder,) = (Path(cache) / "checkpoints").glob("[!.]*")
    return settings, folder, {}


def ours(settings: dict[str, Any]) -> tuple[float, float]:
    """Seconds to ready and to the first answer."""
    with Server(**settings) as server:
        ready = time.monotonic() - server.started
        server.transcribe(DEMO / "recordings" / "radio.mp3").raise_for_status()
        return ready, time.monotonic() - server.started


def plain(folder: Path, arguments: dict[str, Any]) -> tuple[float, float]:
    command = [
        sys.executable,
        "-c",
        PLAIN,
        str(folder),
        json.dumps(arguments),
        str(DEMO / "recordings" / "radio.mp3"),
    ]
    run = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"{run.stdout}\nthe plain LLM(…) ended with status {run.returncode}")
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("RESULT"))
    ready, answered, _ = json.loads(line.removeprefix("RESULT"))
    return ready, answered


def report(times: dict[str, list[tuple[float, float]]], rounds: int) -> None:
    table = Table(title=f"Start with a cached checkpoint, median of {rounds}")
    for column in ("", "ready s", "first answer s", "ours / it, ready"):
        table.add_column(column, justify="right" if column else "left")
    base = statistics.median(ready for ready, _ in times["marlinscribe serve"])
    for name, measured in times.items():
        ready = statistics.median(r for r, _ in measured)
        answer = statistics.median(a for _, a in measured)
        table.add_row(name, f"{ready:.1f}", f"{answer:.1f}", f"{base / ready:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
