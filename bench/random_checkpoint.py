"""Checkpoints of whisper-large-v2's shape with random weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration

from app.checkpoints.weights import weight_bytes
from harness.server import DEMO

LARGE_V2: dict[str, Any] = {
    "d_model": 1280,
    "encoder_layers": 32,
    "decoder_layers": 32,
    "encoder_attention_heads": 20,
    "decoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120,
    "num_mel_bins": 80,
    "vocab_size": 51865,
    "max_source_positions": 1500,
    "max_target_positions": 448,
    "dtype": "float16",
}
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "generation_config.json",
)
SHARD_BYTES = 10**9  # several files, as large checkpoints come; one at a time is in memory


def make(folder: Path, *, like: Path = DEMO / "marine-radio", **changes: int) -> tuple[Path, int]:
    """A checkpoint of LARGE_V2's shape with `changes`, and with the tokenizer of another; its
    folder and its parameters' number.

    Holds SHARD_BYTES in memory, and one tensor more.
    """
    folder.mkdir()
    config = json.loads((like / "config.json").read_text()) | LARGE_V2 | changes
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER:
        if (like / name).exists():
            shutil.copyfile(like / name, folder / name)
    _drop_heads(folder / "generation_config.json", config)
    with torch.device("meta"):
        tensors = WhisperForConditionalGeneration(WhisperConfig(**config)).state_dict()
    del tensors["proj_out.weight"]  # tied to the embedding
    dtype = getattr(torch, config["dtype"])
    shards = _shards(tensors, dtype.itemsize)
    torch.manual_seed(0)
    files: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        weights = {key: _random(key, tensors[key].shape, dtype) for key in shard}
        save_file(weights, folder / name, {"format": "pt"})
        files |= dict.fromkeys(shard, name)
        del weights  # before the next shard's
    index = {"metadata": {"total_size": weight_bytes(folder)}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder, sum(tensor.numel() for tensor in tensors.values())


def _drop_heads(path: Path, config: dict[str, Any]) -> None:
    """Drop the heads that words are aligned by where this shape has fewer layers or heads."""
    told = json.loads(path.read_text("utf-8")) if path.exists() else {}
    sizes = config["decoder_layers"], config["decoder_attention_heads"]
    if any(
        one >= size
        for head in told.pop("alignment_heads", ())
        for one, size in zip(head, sizes, strict=True)
    ):
        path.write_text(json.dumps(told), "utf-8")


def _shards(tensors: dict[str, torch.Tensor], itemsize: int) -> list[list[str]]:
    """Names of what fits into SHARD_BYTES together, in order."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * itemsize
        if filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _random(name: str, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """As an untrained Whisper has it: biases 0, norms 1, the rest of deviation 0.02."""
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=dtype)
    if "layer_norm" in name:
        return torch.ones(shape, dtype=dtype)
    return torch.empty(shape, dtype=dtype).normal_(0, 0.02)
