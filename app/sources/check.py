"""Refusal of checkpoints that could not be served in the end, before hours are spent on them."""

import json
import re
from pathlib import Path
from typing import Any

from app.errors import BadSource
from app.sources.source import ADVICE, Source


def check(source: Source) -> None:
    """Check a source's files, config and scheme. Raises BadSource."""
    for path in source.folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():
            # To open a pipe is to wait for its writer, and a device may never end.
            raise BadSource(f"{path} is no regular file.", ADVICE)
    try:
        config = source.config
    except (OSError, ValueError) as error:
        raise BadSource(f"{source.folder} has no readable config.json.", ADVICE) from error
    if config.get("model_type") != "whisper":
        kind = config.get("model_type", "something unnamed")
        raise BadSource(f"{source.name} is not a Whisper but {kind}.", ADVICE)
    if not _weights(source.folder):
        raise BadSource(f"{source.folder} holds no weights.", ADVICE)
    if missing := _missing_shards(source.folder):
        raise BadSource(f"{source.folder} lacks {', '.join(missing)}.", "Download it again.")
    if source.quantized:
        _check_servable(source.name, config)


def _weights(folder: Path) -> list[Path]:
    return [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]


def _missing_shards(folder: Path) -> list[str]:
    """Return the weight files that an interrupted download did not bring."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
        named = {str(name) for name in index["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []
    return sorted(name for name in named if not (folder / name).exists())


def _check_servable(name: str, config: dict[str, Any]) -> None:
    """Refuse quantized checkpoints that vLLM's Whisper cannot load."""
    quantization = config["quantization_config"]
    advice = "Quantize it again with act-order static and one scheme for each fused projection."
    method = quantization.get("quant_method")
    if method != "compressed-tensors":
        raise BadSource(f"{name} is quantized with {method}, not compressed-tensors.", advice)
    for group in quantization.get("config_groups", {}).values():
        order = (group.get("weights") or {}).get("actorder")
        if order in ("group", "dynamic"):
            raise BadSource(f"{name} has act-order {order}, which vLLM does not load.", advice)
    # vLLM fuses q, k and v of self-attention, and k and v of cross-attention: one scheme each.
    layers = [f"encoder.layers.{i}" for i in range(config["encoder_layers"])]
    layers += [f"decoder.layers.{i}" for i in range(config["decoder_layers"])]
    for layer in layers:
        for attention, projections in (("self_attn", "qkv"), ("encoder_attn", "kv")):
            fused = f"model.{layer}.{attention}"
            schemes = {_scheme(quantization, f"{fused}.{p}_proj") for p in projections}
            if len(schemes) > 1:
                raise BadSource(f"{name} gives the projections of {fused} several schemes.", advice)


def _scheme(quantization: dict[str, Any], module: str) -> str | None:
    """The name of the config group that a Linear is quantized by, or None."""

    def matches(pattern: str) -> bool:
        if pattern.startswith("re:"):
            return re.match(pattern.removeprefix("re:"), module) is not None
        return pattern in (module, "Linear")

    if any(matches(pattern) for pattern in quantization.get("ignore") or ()):
        return None
    groups: dict[str, Any] = quantization.get("config_groups", {})
    return next((n for n, g in groups.items() if any(map(matches, g["targets"]))), None)
