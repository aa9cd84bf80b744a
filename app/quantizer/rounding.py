"""Whisper with some of its fused groups rounded to nearest, in plain torch: what schemes lose.

Weights are rounded as compressed-tensors does it, symmetrically about zero; where activations have
eight bits, so are the layer's inputs, token by token. Nothing is packed, nothing learned.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from app.checkpoints.fused_groups import LINEARS, fused_groups, parts
from app.checkpoints.recipe import LayerScheme

Group = str  # a fused group's name: encoder.layers.0.self_attn.qkv
Scheme = str  # "W8A8", "W4A16 g32", "W4A16 g128" or "none"


def grouped(model: Any) -> dict[Group, list[torch.nn.Linear]]:
    """Return the Linears of each fused group, in the order of the model."""
    found: dict[Group, list[torch.nn.Linear]] = {}
    for group in fused_groups(model.config.to_dict()):
        stack, number, name = parts(group)
        layer = getattr(model.model, stack).layers[number]
        found[group] = [layer.get_submodule(one) for one in LINEARS[name]]
    return found


def rounded(weights: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Return weights, shape (out, in), as a scheme's kernel would see them."""
    if scheme == "none":
        return weights
    kind, together = LayerScheme.read(scheme, "channel")
    rows = weights.unsqueeze(1) if together == "channel" else weights.unflatten(1, (-1, together))
    return _to_bits(rows, int(kind[1])).flatten(1)


def _to_bits(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Round numbers that share a scale along their last dimension."""
    half = 2 ** (bits - 1)
    scale = (numbers.abs().amax(-1, keepdim=True) / (half - 0.5)).clamp_min(1e-12)
    return (numbers / scale).round().clamp(-half, half - 1) * scale


def rounded_inputs(inputs: torch.Tensor) -> torch.Tensor:
    """Return activations in eight bits, each token with a scale of its own."""
    return _to_bits(inputs, 8)


def has_rounded_inputs(scheme: Scheme) -> bool:
    return scheme.endswith("A8")


@contextmanager
def quantized(
    groups: Mapping[Group, list[torch.nn.Linear]], assignment: Mapping[Group, Scheme]
) -> Iterator[None]:
    """Round the groups of an assignment for as long as the context lasts."""
    kept, hooks = [], []
    for name, scheme in assignment.items():
        for linear in groups[name] if scheme != "none" else ():
            kept.append((linear, linear.weight.data))
            linear.weight.data = rounded(linear.weight.data, scheme)
            if has_rounded_inputs(scheme):
                hooks.append(linear.register_forward_pre_hook(_round_inputs))
    try:
        yield
    finally:
        for linear, weights in kept:
            linear.weight.data = weights
        for hook in hooks:
            hook.remove()


def _round_inputs(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (rounded_inputs(args[0]), *args[1:])
