"""Fused groups: the linears that vLLM holds as one, and the scheme that a recipe gives each.

    encoder.layers.N.self_attn.qkv, .self_attn.out, .fc1, .fc2
    decoder.layers.N.self_attn.qkv, .self_attn.out,
                     encoder_attn.q, encoder_attn.kv, encoder_attn.out, .fc1, .fc2

Read from vLLM 0.32's `model_executor/models/whisper.py`: a QKVParallelLinear in self-attention, a
ColumnParallelLinear of queries and a MergedColumnParallelLinear of keys and values in
cross-attention. What lies in one of them shares its scheme.
"""

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

from app.checkpoints.recipe import Component, LayerScheme, Recipe

Stack = Literal["encoder", "decoder"]

# Of a group, what it is called within a layer: its linears in transformers' checkpoints.
LINEARS: Mapping[str, tuple[str, ...]] = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out": ("self_attn.out_proj",),
    "encoder_attn.q": ("encoder_attn.q_proj",),
    "encoder_attn.kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "encoder_attn.out": ("encoder_attn.out_proj",),
    "fc1": ("fc1",),
    "fc2": ("fc2",),
}
_COMPONENTS: Mapping[tuple[str, str], Component] = {
    ("encoder", "self_attn"): "encoder.attention",
    ("encoder", "fc1"): "encoder.mlp",
    ("encoder", "fc2"): "encoder.mlp",
    ("decoder", "self_attn"): "decoder.self_attention",
    ("decoder", "encoder_attn"): "decoder.cross_attention",
    ("decoder", "fc1"): "decoder.mlp",
    ("decoder", "fc2"): "decoder.mlp",
}


def fused_groups(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the fused groups of a Whisper of this config.json, each with the widths of its input
    and output, in the order of the model."""
    found: dict[str, tuple[int, int]] = {}
    stacks: tuple[Stack, Stack] = ("encoder", "decoder")
    for stack in stacks:
        shapes = _shapes(stack, config["d_model"], config[f"{stack}_ffn_dim"])
        for layer in range(config[f"{stack}_layers"]):
            found |= {f"{stack}.layers.{layer}.{name}": shape for name, shape in shapes.items()}
    return found


def _shapes(stack: Stack, width: int, inner: int) -> dict[str, tuple[int, int]]:
    attention = {"self_attn.qkv": (width, 3 * width), "self_attn.out": (width, width)}
    across = {
        "encoder_attn.q": (width, width),
        "encoder_attn.kv": (width, 2 * width),
        "encoder_attn.out": (width, width),
    }
    mlp = {"fc1": (width, inner), "fc2": (inner, width)}
    return attention | (across if stack == "decoder" else {}) | mlp


def parts(group: str) -> tuple[str, int, str]:
    """Return a group's stack, its layer and what it is called there."""
    stack, _, layer, name = group.split(".", 3)
    return stack, int(layer), name


def component_of(group: str) -> Component:
    """Return the component that a group lies in."""
    stack, _, name = parts(group)
    return _COMPONENTS[stack, name.partition(".")[0]]


@cache
def group_of(linear: str) -> str:
    """Return the group of a linear by its name in transformers, with or without `model.`."""
    stack, _, layer, own = linear.removeprefix("model.").split(".", 3)
    name = next(name for name, linears in LINEARS.items() if own in linears)
    return f"{stack}.layers.{layer}.{name}"


def layer_schemes(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, LayerScheme]:
    """Return the scheme of every fused group, in the order of the model."""
    return {
        group: LayerScheme.read(recipe.layers[pattern], recipe.group_size)
        if pattern
        else recipe.component_schemes[component_of(group)]
        for group, pattern in _deciding(recipe, config).items()
    }


def _deciding(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the pattern that decides each group, the last that matches; None where none does."""
    patterns = [*recipe.layers][::-1]
    return {
        group: next((one for one in patterns if fnmatchcase(group, one)), None)
        for group in fused_groups(config)
    }


def decided_by(recipe: Recipe, config: Mapping[str, Any], group: str) -> str:
    """Return what gives a group its scheme, for people: the pattern, or the component if that has
    one of its own; else nothing."""
    pattern = _deciding(recipe, config)[group]
    component = component_of(group)
    return f'layers "{pattern}"' if pattern else component if component in recipe.components else ""


def without_effect(recipe: Recipe, config: Mapping[str, Any]) -> list[Component]:
    """Return the components that are given a scheme and of which layers leave nothing."""
    left = {component_of(one) for one, by in _deciding(recipe, config).items() if by is None}
    return [one for one in recipe.components if one != "embedding" and one not in left]


def misnamed(recipe: Recipe, config: Mapping[str, Any]) -> str | None:
    """Return why a recipe's layers do not fit a Whisper of this config.json, or None."""
    groups, deciding = fused_groups(config), {*_deciding(recipe, config).values()}
    for pattern in recipe.layers:
        found = [one for one in groups if fnmatchcase(one, pattern)]
        if not found:
            return f'layers "{pattern}" matches nothing. {_what_would_match(pattern, config)}'
        if pattern not in deciding:
            return (
                f'layers "{pattern}" has no effect: later patterns decide all that it matches '
                f"({found[0]} and {len(found) - 1} more)"
            )
    for component in without_effect(recipe, config):
        return f"components {component} has no effect: layers decide all of it"
    return None


def _what_would_match(pattern: str, config: Mapping[str, Any]) -> str:
    groups = fused_groups(config)
    if not set(pattern) & set("*?["):
        near = difflib.get_close_matches(pattern.removeprefix("model."), groups, n=2, cutoff=0.8)
        if near:
            return f"There is {' and '.join(near)}"
    stacks = (("encoder", config["encoder_layers"]), ("decoder", config["decoder_layers"]))
    told = []
    for stack, layers in stacks:
        names = ", ".join(parts(one)[2] for one in groups if one.startswith(f"{stack}.layers.0."))
        told.append(f"{stack}.layers.0 to {layers - 1}, each with {names}")
    return f"There are {'; and '.join(told)}"
