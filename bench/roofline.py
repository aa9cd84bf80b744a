"""How near a served Whisper comes to what its machine can do.

    python -m bench.roofline --checkpoint FOLDER

What a 30 s window asks of a machine follows from the model's config: the encoder's (and the
decoder's first step's) multiplications, and the bytes that each further step reads: the decoder's
weights as they are stored, the output projection, a window's keys and values. What the machine can
do is measured: multiplications a second of square matrices of bfloat16 (float32 where the processor
has none), bytes a second of a sum over more than its caches hold. Achieved is the time that this
would take by the time that the engine says it took (vLLM's prefill and the time between tokens),
for clips of the judge one at a time. Weights in eight bits may beat the first ceiling, for it is
that of sixteen.
"""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from app.environment import DEMO_MODEL
from app.models.whisper_vllm.plan import pick_device
from app.models.whisper_vllm.shape import ModelShape
from app.process import has_half_precision
from app.tensor_files import read_headers
from bench.http import load_service
from bench.options import parser
from bench.recordings import short_clips
from harness.server import Server

_PREFILL = "vllm:request_prefill_time_seconds"
_STEP = "marlinscribe_inter_token_latency_seconds"
_SQUARE, _SUMMED = 2048, 2**28  # a matrix's side; a sum's bytes
_POSITIONS, _FRAMES, _MELS = 1500, 3000, 80
# Used in the prefill alone: cross-attention's keys and values, and of positions one row.
_ONCE = re.compile(r"encoder_attn\.[kv]_proj|embed_positions")
_SAMPLE = re.compile(r"^([\w:]+)(?:\{.*\})? (\S+)$")


@dataclass(frozen=True)
class Work:
    """multiplied: floating-point operations of a window's prefill. read: bytes of a further step,
    of which `weights` are the same for all windows of a step."""

    multiplied: float
    weights: int
    read: int

    @classmethod
    def of(cls, folder: Path) -> "Work":
        """Compute it from a checkpoint's config and the headers of its weights."""
        config = json.loads((folder / "config.json").read_text("utf-8"))
        weights = _decoder_bytes(folder)
        return cls(_prefill(config), weights, weights + _keys_and_values(folder))


def _prefill(config: Mapping[str, Any]) -> float:
    """Return the operations of a window's encoder and of the decoder's keys and values over it: two
    for each multiplication and its addition."""
    width, mlp, n = config["d_model"], config["encoder_ffn_dim"], _POSITIONS
    mels = config.get("num_mel_bins", _MELS)
    convolutions = _FRAMES * 3 * mels * width + n * 3 * width * width
    layer = n * (4 * width * width + 2 * width * mlp) + 2 * n * n * width
    crossed = config["decoder_layers"] * n * 2 * width * width
    return 2.0 * (convolutions + config["encoder_layers"] * layer + crossed)


def _decoder_bytes(folder: Path) -> int:
    """Return what a step reads of the weights: the decoder's layers, and its embedding, which is
    the output projection."""
    headers = [one for path in folder.glob("*.safetensors") for one in read_headers(path).items()]
    return sum(
        header.bytes for name, header in headers if "decoder." in name and not _ONCE.search(name)
    )


def _keys_and_values(folder: Path) -> int:
    """Return what a step reads of a window's cross-attention."""
    return ModelShape.of(folder).cross_bytes(pick_device("auto"))


def multiplications() -> float:
    """Measure the floating-point operations a second of square matrices."""
    import torch

    square = torch.randn(_SQUARE, _SQUARE)
    square = square.bfloat16() if has_half_precision() else square
    return 2 * _SQUARE**3 / _fastest(lambda: square @ square)


def bandwidth() -> float:
    """Measure the bytes a second of a sum."""
    import torch

    numbers = torch.ones(_SUMMED // 4)
    return _SUMMED / _fastest(numbers.sum)


def _fastest(run: Callable[[], object], times: int = 10) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        took.append(time.perf_counter() - begun)
    return min(took)


def measured(server: Server, clips: list[Path], rounds: int) -> tuple[float, float]:
    """Return the seconds of a prefill and of a further step."""
    told = [asyncio.run(_means(server, clips)) for _ in range(rounds + 1)][1:]  # the first warms
    prefill, step = (statistics.median(column) for column in zip(*told, strict=True))
    return prefill, step


async def _means(server: Server, clips: list[Path]) -> tuple[float, float]:
    before = _samples(server)
    await load_service(server, clips, 1, len(clips), {"language": "en"})
    after = _samples(server)

    def mean(name: str) -> float:
        seconds, count = (
            after[f"{name}_{part}"] - before.get(f"{name}_{part}", 0) for part in ("sum", "count")
        )
        return seconds / count

    return mean(_PREFILL), mean(_STEP)


def _samples(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    found = [match.groups() for line in lines if (match := _SAMPLE.match(line))]
    return {name: float(value) for name, value in found}


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.roofline", __doc__, clips=16, rounds=3)
    wanted.add_argument(
        "--checkpoint", type=Path, default=DEMO_MODEL, help="its folder (default: the demo's)"
    )
    asked = wanted.parse_args(argv)
    flops, speed, work = multiplications(), bandwidth(), Work.of(asked.checkpoint)
    print(f"ceilings: {flops / 1e9:.0f} GFLOP/s, {speed / 1e9:.1f} GB/s")
    # The work that is counted is that of an encoder of 30 s.
    with Server(model=asked.checkpoint, short_encoder="off") as server:
        prefill, step = measured(server, list(short_clips())[: asked.clips], asked.rounds)
    table = Table("", "work", "at the ceiling, ms", "took, ms", "achieved")
    for name, told, least, took in (
        ("prefill", f"{work.multiplied / 1e9:.0f} GFLOP", work.multiplied / flops, prefill),
        ("a further step", f"{work.read / 1e6:.0f} MB", work.read / speed, step),
    ):
        table.add_row(
            name, told, f"{1000 * least:.1f}", f"{1000 * took:.1f}", f"{least / took:.0%}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
