"""The embedding of a checkpoint in eight bits: rounded, written, and read as what it means."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from app.files import write_json
from app.models.whisper_vllm.embedding_format import ENTRY, SCALE, SMOOTHING, WEIGHT
from app.quantizer.rounding import rounded_inputs

_DEVIATIONS = 3  # how far from its mean what leaves a norm goes as a rule
_STEPS = 127.5  # between zero and a row's largest weight


class Table(NamedTuple):
    """What a checkpoint holds of it: shapes (vocabulary, width), (vocabulary, 1), (width,)."""

    weight: torch.Tensor
    scale: torch.Tensor
    smoothing: torch.Tensor


def rounded_table(model: Any, dtype: torch.dtype) -> Table:
    """Round a model's embedding, in place, and with it the output projection, which is tied to it;
    return the integers. How large the projection's inputs become is told by the norm before it."""
    table, norm = model.model.decoder.embed_tokens.weight.data, model.model.decoder.layer_norm
    reach = _DEVIATIONS * norm.weight.data.abs() + norm.bias.data.abs()
    smoothing = (reach / table.abs().amax(0)).clamp_min(1e-6).sqrt()
    smoothing = (smoothing / smoothing.mean()).to(dtype)
    smooth = table * smoothing.to(table)
    scale = (smooth.abs().amax(-1, keepdim=True) / _STEPS).clamp_min(1e-6).to(dtype)
    weight = (smooth / scale.to(table)).round().clamp(-128, 127)
    table.copy_(weight * scale.to(table) / smoothing.to(table))
    return Table(weight.to(torch.int8), scale, smoothing)


def write(folder: Path, table: Table) -> None:
    """Write the table into a checkpoint instead of its embedding."""
    file = _holding(folder, WEIGHT)
    tensors = dict(zip((WEIGHT, SCALE, SMOOTHING), table, strict=True))
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    write_json(folder / "config.json", config | {ENTRY: "W8A8"})


def understand(model: Any, folder: Path) -> None:
    """Have a model that transformers has loaded from a checkpoint compute what its eight bits mean:
    transformers took the embedding's integers for weights."""
    with safe_open(_holding(folder, SCALE), "pt") as opened:
        table = Table(*(opened.get_tensor(name) for name in (WEIGHT, SCALE, SMOOTHING)))
    weight, scale, smoothing = (tensor.to(model.dtype).to(model.device) for tensor in table)
    model.proj_out.weight = torch.nn.Parameter(weight * scale, requires_grad=False)
    model.model.decoder.embed_tokens.weight.data = weight * scale / smoothing

    def smoothed(_: torch.nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (rounded_inputs(given[0] / smoothing),)

    model.proj_out.register_forward_pre_hook(smoothed)


def _holding(folder: Path, name: str) -> Path:
    """Return the file that holds a tensor."""
    return next(one for one in sorted(folder.glob("*.safetensors")) if name in _names(one))


def _names(file: Path) -> set[str]:
    with safe_open(file, "pt") as opened:
        return {*opened.keys()}
