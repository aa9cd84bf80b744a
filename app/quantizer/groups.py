"""A recipe as compressed-tensors' config groups: which modules get which scheme.

Arithmetic on names alone. vLLM fuses only within a fused group, which has one scheme.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.checkpoints.fused_groups import LINEARS, group_of, layer_schemes, parts
from app.checkpoints.recipe import LayerScheme, Recipe, Scheme

OUTPUT = ("proj_out", "lm_head")  # the embedding once more: never quantized for itself
Config = Mapping[str, Any]  # a Whisper's


def wanted(recipe: Recipe, config: Config, linears: Iterable[str]) -> dict[str, Scheme]:
    """Return the modules to quantize, with their schemes."""
    schemes = layer_schemes(recipe, config)
    found: dict[str, Scheme] = {}
    for name in linears:
        if name not in OUTPUT:
            scheme = schemes[group_of(name)].scheme
            if scheme != "none":
                found[name] = scheme
    return found


def config_groups(recipe: Recipe, config: Config) -> dict[str, Any]:
    """Return a config group for each scheme and group size, of all Linears or of some by name."""
    schemes = layer_schemes(recipe, config)
    different = [one for one in dict.fromkeys(schemes.values()) if one.scheme != "none"]
    if len({*schemes.values()}) == 1:
        return {"group_0": {"targets": ["Linear"], **_scheme(different[0], recipe)}}
    return {
        f"group_{number}": {"targets": _patterns(schemes, one), **_scheme(one, recipe)}
        for number, one in enumerate(different)
    }


def ignored(recipe: Recipe, config: Config) -> list[str]:
    """Return the names of what is left alone."""
    schemes = layer_schemes(recipe, config)
    alone = [one for one in {*schemes.values()} if one.scheme == "none"]
    return [*OUTPUT, *(pattern for one in alone for pattern in _patterns(schemes, one))]


def _patterns(schemes: Mapping[str, LayerScheme], one: LayerScheme) -> list[str]:
    """Return patterns of exactly the Linears that have a scheme: those of the same layers share
    one."""
    layers = _layers(group for group, scheme in schemes.items() if scheme == one)
    alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (stack, name), numbers in layers.items():
        alike.setdefault((stack, tuple(numbers)), []).extend(LINEARS[name])
    every = _layers(schemes)
    return [
        _pattern(stack, numbers if len(numbers) < len(every[stack, "fc1"]) else None, linears)
        for (stack, numbers), linears in alike.items()
    ]


def _layers(groups: Iterable[str]) -> dict[tuple[str, str], list[int]]:
    """Return the layers in which groups are, by stack and by what they are called there."""
    found: dict[tuple[str, str], list[int]] = {}
    for stack, layer, name in map(parts, groups):
        found.setdefault((stack, name), []).append(layer)
    return found


def _pattern(stack: str, layers: Iterable[int] | None, linears: Iterable[str]) -> str:
    """Return a pattern of Linears' names, here and in vLLM 0.32, which inserts words: there it is
    .decoder.layers.0.layers.mlp.fc1 and .encoder.layers.0.layers.self_attn.q_proj. None stands for
    all layers."""
    which = r"\d+" if layers is None else f"({'|'.join(map(str, layers))})"
    return rf"re:.*{stack}\.layers\.{which}\.(\w+\.)*({'|'.join(map(re.escape, linears))})$"


def _scheme(one: LayerScheme, recipe: Recipe) -> dict[str, Any]:
    weights = weights_of(one, recipe)
    if one.scheme != "W8A8":
        if recipe.observer == "imatrix":
            # Unless it is strict it falls back to plain errors without calibration.
            weights |= {"observer": "imatrix_mse", "observer_kwargs": {"strict": True}}
        return {"weights": weights}
    by_token = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token"}
    return {"weights": weights, "input_activations": by_token | {"dynamic": True}}


def weights_of(one: LayerScheme, recipe: Recipe) -> dict[str, Any]:
    """Return a scheme's weights as compressed-tensors' QuantizationArgs."""
    args = {"num_bits": int(one.scheme[1]), "type": "int", "symmetric": True}
    args |= {"scale_dtype": f"torch.{recipe.dtype}"}
    if one.group_size == "channel":
        return args | {"strategy": "channel"}
    return args | {"strategy": "group", "group_size": one.group_size}
