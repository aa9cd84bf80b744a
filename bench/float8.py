"""Checkpoints whose W8A8 layers become FP8: what cards of Ada's generation and later multiply."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_MOST = 448.0  # of float8_e4m3fn
_OTHERS = ("tokenizer*.json", "*processor_config.json", "generation_config.json")


def to_float8(folder: Path, out: Path) -> Path:
    """Write a made checkpoint anew, its int8 weights as float8 with scales of their own; return
    the new folder. Its activations are then rounded to float8, by token, as they were to int8."""
    out.mkdir()
    for pattern in _OTHERS:
        for path in folder.glob(pattern):
            shutil.copyfile(path, out / path.name)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for group in config["quantization_config"]["config_groups"].values():
        if group.get("format") == "int-quantized":
            _retype(group)
    if config["quantization_config"]["format"] == "int-quantized":
        config["quantization_config"]["format"] = "float-quantized"
    (out / "config.json").write_text(json.dumps(config), "utf-8")
    for path in folder.glob("*.safetensors"):
        save_file(_converted(load_file(path)), out / path.name, {"format": "pt"})
    if (index := folder / "model.safetensors.index.json").exists():
        shutil.copyfile(index, out / index.name)
    return out


def _retype(group: dict[str, Any]) -> None:
    group["format"] = "float-quantized"
    for part in ("weights", "input_activations"):
        group[part]["type"] = "float"


def _converted(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with each int8 weight as float8. Its scale lies in the same file."""
    found = dict(tensors)
    for name, weight in tensors.items():
        if weight.dtype == torch.int8:
            whole = weight.float() * tensors[f"{name}_scale"].float()
            scale = whole.abs().amax(1, keepdim=True).clamp(min=1e-12) / _MOST
            found[name] = (whole / scale).to(torch.float8_e4m3fn)
            found[f"{name}_scale"] = scale
    return found
