"""Times of vLLM's own linear layers, by shape, scheme and rows, in a process of their own.

    python -m app.models.whisper_vllm.linear_timing < job.json

The layers are built as an engine builds them, with a quantization config, so that vLLM chooses
their kernels as it would when it serves. A decoder's weights do not stay in the processor's caches
from one step to the next: so many copies of a layer are called in turn that none of them does.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from pydantic import BaseModel

from app.process import die_with, set_idle_priority

_COLD = 64 * 2**20  # bytes of copies; this is twice the last cache of a large processor's share
_MANY_ROWS = 256  # from here on weights are read once for much work: a few copies do
_FEW_COPIES = 4
_HEAD_SIZE = 64  # every Whisper's
_MOST_COPIES = 512  # each takes milliseconds to build: layers of the smallest models are warmer


class Job(BaseModel):
    """What is to be timed. shapes: (inputs, outputs) of layers; without outputs, the attention of
    an encoder of such a width. schemes: as scheme_config takes them. rounds: how often all is
    timed, in turn. parent: the pid that the process dies with. idle_priority: whether it runs only
    while nobody else wants the processors."""

    shapes: list[tuple[int, int]]
    schemes: list[str]
    rows: list[int]
    rounds: int = 5
    dtype: str = "bfloat16"
    device: str = "cpu"
    parent: int | None = None
    idle_priority: bool = False


def scheme_config(scheme: str, dtype: str) -> dict[str, Any] | None:
    """Return compressed-tensors' quantization config of a scheme, such as "W4A16 g32", "W8A8"; None
    for "none"."""
    if scheme == "none":
        return None
    kind, _, group = scheme.partition(" g")
    weights: dict[str, Any] = {"num_bits": int(kind[1]), "type": "int", "symmetric": True}
    weights |= {"strategy": "group", "group_size": int(group)} if group else {"strategy": "channel"}
    one: dict[str, Any] = {"targets": ["Linear"], "weights": weights}
    if kind == "W8A8":
        by_token = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token"}
        one["input_activations"] = by_token | {"dynamic": True}
    packing = "int-quantized" if kind == "W8A8" else "pack-quantized"
    return {
        "quant_method": "compressed-tensors",
        "format": packing,
        "config_groups": {"group_0": one | {"format": packing}},
        "ignore": [],
    }


def layer_of(shape: tuple[int, int], scheme: str, dtype: torch.dtype) -> Any:
    """Return vLLM's layer with random weights, ready to be called."""
    from vllm.model_executor.layers.linear import ReplicatedLinear
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import (
        CompressedTensorsConfig,
    )

    config = scheme_config(scheme, str(dtype))
    layer = ReplicatedLinear(
        *shape,
        params_dtype=dtype,
        quant_config=CompressedTensorsConfig.from_config(config) if config else None,
        prefix="model.decoder.layers.0.fc1",
    )
    for parameter in layer.parameters():
        _fill(parameter)
    layer.quant_method.process_weights_after_loading(layer)
    return layer


def _fill(parameter: torch.Tensor) -> None:
    if parameter.is_floating_point():
        parameter.data.uniform_(0.001, 0.01)
    else:
        highest = torch.iinfo(parameter.dtype).max
        parameter.data.random_(-highest, highest)


class _Attention(torch.nn.Module):  # type: ignore[misc]  # untyped
    """What positions of an encoder attend to behind a layer of some scheme, all to all of them."""

    def __init__(self, width: int, scheme: str, dtype: torch.dtype) -> None:
        super().__init__()
        heads, scale = width // _HEAD_SIZE, _HEAD_SIZE**-0.5
        self.quant_method = _attention(heads, scale, scheme, dtype)  # what kernel_of names

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the positions attend to by these queries, keys and values."""
        attended: torch.Tensor = self.quant_method(rows, rows, rows)
        return attended


def _attention(heads: int, scale: float, scheme: str, dtype: torch.dtype) -> Any:
    """Return the attention that an engine has for a scheme."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and scheme == "W8A8" and dtype == torch.bfloat16:
        from app.models.whisper_vllm.encoder_vectors import gains

        if gains():
            from app.models.whisper_vllm.encoder_attention import EightBitScores, Room

            return EightBitScores(heads, scale, Room())
    from vllm.model_executor.models.whisper import WhisperEncoderAttention

    return WhisperEncoderAttention(heads, _HEAD_SIZE, scale, num_kv_heads=heads)


def kernel_of(layer: Any) -> str:
    """Return the name of a layer's kernel, as WhisperWorker.linear_kernels has it."""
    scheme = getattr(layer, "scheme", None)
    if scheme is None:
        return type(layer.quant_method).__name__
    return type(getattr(scheme, "kernel", scheme)).__name__


def timings(job: Job) -> Iterator[dict[str, Any]]:
    """Yield a row for each shape, scheme and count of rows: seconds of a call, of each round."""
    dtype = getattr(torch, job.dtype)
    for shape in job.shapes:
        layers = {scheme: _copies(shape, scheme, dtype) for scheme in job.schemes}
        for rows in job.rows:
            inputs = torch.randn(rows, shape[0]).to(dtype)
            seconds: dict[str, list[float]] = {scheme: [] for scheme in layers}
            for _ in range(job.rounds + 1):
                for scheme, copies in layers.items():
                    seconds[scheme].append(_round(copies, inputs))
            for scheme, (_, *several) in seconds.items():  # the first round warms
                yield {"inputs": shape[0], "outputs": shape[1], "scheme": scheme, "rows": rows,
                       "seconds": several, "kernel": kernel_of(layers[scheme][0])}  # fmt: skip


def _copies(shape: tuple[int, int], scheme: str, dtype: torch.dtype) -> list[Any]:
    if not shape[1]:
        return [_Attention(shape[0], scheme, dtype)]
    bits = 8 * dtype.itemsize if scheme == "none" else int(scheme[1])
    count = -(-_COLD // (shape[0] * shape[1] * bits // 8))
    count = min(max(_FEW_COPIES, count), _MOST_COPIES)
    return [layer_of(shape, scheme, dtype) for _ in range(count)]


def _round(layers: Sequence[Any], inputs: torch.Tensor) -> float:
    """Return the seconds of a call."""
    used = layers[:_FEW_COPIES] if len(inputs) >= _MANY_ROWS else layers
    _wait(inputs)
    begun = time.perf_counter()
    for layer in used:
        layer(inputs)
    _wait(inputs)
    return (time.perf_counter() - begun) / len(used)


def _wait(inputs: torch.Tensor) -> None:
    """Wait for a card, which computes while this process goes on."""
    if inputs.is_cuda:
        torch.cuda.synchronize()


def _be_one_of_one() -> None:
    """Set up vLLM's groups of processes, which its layers ask for their share."""
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    with tempfile.TemporaryDirectory() as folder:
        init_distributed_environment(1, 0, f"file://{folder}/group", 0, "gloo")
        initialize_model_parallel(1)


def main() -> None:
    """Do the job on standard input; print the rows and, last, the versions, as JSON lines."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM prints where it likes
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.plugins import load_general_plugins

    job = Job.model_validate_json(sys.stdin.read())
    if job.parent is not None:
        die_with(job.parent)
    if job.idle_priority:
        set_idle_priority(os.getpid())
    load_general_plugins()  # as an engine does
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    with set_current_vllm_config(VllmConfig()), torch.inference_mode():
        _be_one_of_one()
        torch.set_default_dtype(getattr(torch, job.dtype))
        torch.set_default_device(job.device)
        for row in timings(job):
            print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    main()
