"""The embedding of a checkpoint in eight bits: written as integers, and read as what they mean."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from app.checkpoints.embedding import ENTRY, SCALE, WEIGHT
from app.files import write_json
from app.quantizer.rounding import rounded_inputs


def write(folder: Path, scales: torch.Tensor) -> None:
    """Write the embedding of a checkpoint, which has been rounded, as the integers that it is
    multiples of `scales` by. A 16-bit float holds 255 of those apart."""
    file = next(one for one in sorted(folder.glob("*.safetensors")) if _has(one, WEIGHT))
    tensors = load_file(file)
    scales = scales.to(tensors[WEIGHT].dtype)
    tensors[WEIGHT] = (tensors[WEIGHT].float() / scales.float()).round().to(torch.int8)
    save_file(tensors | {SCALE: scales}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    write_json(folder / "config.json", config | {ENTRY: "W8A8"})


def understand(model: Any, folder: Path) -> None:
    """Have a model that transformers has loaded from a checkpoint compute what its eight bits mean:
    transformers took the embedding's integers for weights."""
    file = next(one for one in sorted(folder.glob("*.safetensors")) if _has(one, SCALE))
    with safe_open(file, "pt") as opened:
        scales = opened.get_tensor(SCALE)
    table = model.model.decoder.embed_tokens.weight.data
    table.mul_(scales.to(table))
    model.proj_out.register_forward_pre_hook(lambda _, given: (rounded_inputs(given[0]),))


def _has(file: Path, name: str) -> bool:
    with safe_open(file, "pt") as opened:
        return name in opened.keys()  # noqa: SIM118  it is no mapping
