"""Whisper with some of its fused groups rounded to nearest, in plain torch: what schemes lose.

Weights are rounded as compressed-tensors does it, symmetrically about zero; where activations have
eight bits, so are the layer's inputs, token by token. Nothing is packed, nothing learned.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

Group = str  # a fused group's name: encoder.layers.0.self_attn.qkv
Scheme = str  # "W8A8", "W4A16 g32", "W4A16 g128" or "none"

_PARTS = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out": ("self_attn.out_proj",),
    "encoder_attn.q": ("encoder_attn.q_proj",),
    "encoder_attn.kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "encoder_attn.out": ("encoder_attn.out_proj",),
    "fc1": ("fc1",),
    "fc2": ("fc2",),
}


def grouped(model: Any) -> dict[Group, list[torch.nn.Linear]]:
    """Return the Linears of each fused group, in the order of the model."""
    found: dict[Group, list[torch.nn.Linear]] = {}
    for stack in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(model.model, stack).layers):
            for name, parts in _PARTS.items():
                if stack == "decoder" or not name.startswith("encoder_attn"):
                    linears = [layer.get_submodule(part) for part in parts]
                    found[f"{stack}.layers.{number}.{name}"] = linears
    return found


def rounded(weights: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Return weights, shape (out, in), as a scheme's kernel would see them."""
    if scheme == "none":
        return weights
    kind, _, group = scheme.partition(" g")
    together = weights.unflatten(1, (-1, int(group))) if group else weights.unsqueeze(1)
    return _to_bits(together, int(kind[1])).flatten(1)


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
