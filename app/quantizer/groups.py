"""A recipe as compressed-tensors' config groups: which modules get which scheme.

Arithmetic on names alone. Modules of one component share a scheme, and vLLM fuses only within one
component.
"""

import re
from collections.abc import Iterable
from typing import Any

from app.checkpoints.recipe import Component, Recipe, Scheme

OUTPUT = ("proj_out", "lm_head")  # the embedding once more: never quantized for itself


def _pattern(stack: str, module: str) -> str:
    """Return a pattern of a Linear's name, here and in vLLM 0.32, which inserts words: there it is
    .decoder.layers.0.layers.mlp.fc1 and .encoder.layers.0.layers.self_attn.q_proj."""
    return rf".*{stack}\.layers\.\d+\.(\w+\.)*{module}$"


_LINEARS: dict[Component, str] = {
    "encoder.attention": _pattern("encoder", r"self_attn\.(q|k|v|out)_proj"),
    "encoder.mlp": _pattern("encoder", "fc[12]"),
    "decoder.self_attention": _pattern("decoder", r"self_attn\.(q|k|v|out)_proj"),
    "decoder.cross_attention": _pattern("decoder", r"encoder_attn\.(q|k|v|out)_proj"),
    "decoder.mlp": _pattern("decoder", "fc[12]"),
}


def wanted(recipe: Recipe, linears: Iterable[str]) -> dict[str, Scheme]:
    """Return the modules to quantize, with their schemes."""
    found: dict[str, Scheme] = {}
    for name in linears:
        if name not in OUTPUT:
            component = next(c for c, pattern in _LINEARS.items() if re.match(pattern, name))
            scheme = recipe.schemes[component]
            if scheme != "none":
                found[name] = scheme
    return found


def config_groups(recipe: Recipe) -> dict[str, Any]:
    """Return a config group for each scheme, of all Linears or of components by name."""
    targets: dict[Scheme, list[str]] = {}
    for component, pattern in _LINEARS.items():
        scheme = recipe.schemes[component]
        if scheme != "none":
            targets.setdefault(scheme, []).append(f"re:{pattern}")
    if [len(patterns) for patterns in targets.values()] == [len(_LINEARS)]:
        targets = {scheme: ["Linear"] for scheme in targets}
    return {
        f"group_{number}": {"targets": patterns, **_scheme(scheme, recipe)}
        for number, (scheme, patterns) in enumerate(targets.items())
    }


def ignored(recipe: Recipe) -> list[str]:
    alone = [f"re:{p}" for component, p in _LINEARS.items() if recipe.schemes[component] == "none"]
    return [*OUTPUT, *alone]


def _scheme(scheme: Scheme, recipe: Recipe) -> dict[str, Any]:
    weights = weights_of(scheme, recipe)
    if scheme != "W8A8":
        if recipe.observer == "imatrix":
            # Unless it is strict it falls back to plain errors without calibration.
            weights |= {"observer": "imatrix_mse", "observer_kwargs": {"strict": True}}
        return {"weights": weights}
    by_token = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token"}
    return {"weights": weights, "input_activations": by_token | {"dynamic": True}}


def weights_of(scheme: Scheme, recipe: Recipe) -> dict[str, Any]:
    """Return a scheme's weights as compressed-tensors' QuantizationArgs."""
    args = {"num_bits": int(scheme[1]), "type": "int", "symmetric": True}
    args |= {"scale_dtype": f"torch.{recipe.dtype}"}
    if scheme == "W8A8" or recipe.group_size == "channel":
        return args | {"strategy": "channel"}
    return args | {"strategy": "group", "group_size": recipe.group_size}
