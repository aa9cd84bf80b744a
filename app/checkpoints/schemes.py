"""Which schemes a serving device runs, and which shapes: asked before hours are spent.

Read from vLLM 0.32's kernels (`vllm/model_executor/kernels/linear`), whose own word a test
compares the CPU's column with. The card's column is read, not run.

                  cpu                                 cuda
    W4A16         K % 32, N % 32                      any (Marlin pads)
    W8A16         no kernel                           any (Marlin pads)
    W8A8          any                                 any
    W3A16, W2A16  no kernel                           none but Humming's, an add-on

Processors without AVX-512 run W4A16 through a kernel of ours (`models/whisper_vllm/float_kernel`).
"""

from typing import Any

from app.checkpoints.fused_groups import decided_by, fused_groups, layer_schemes, misnamed
from app.checkpoints.recipe import LayerScheme, Recipe, Scheme
from app.models.base import Device

SERVED: dict[Device, frozenset[Scheme]] = {
    "cpu": frozenset({"W4A16", "W8A8"}),
    "cuda": frozenset({"W4A16", "W8A16", "W8A8"}),
}
_CPU_TILE = 32


def refusal(recipe: Recipe, config: dict[str, Any], device: Device) -> str | None:
    """Return why a Whisper of this config.json cannot be made by a recipe or not be served, or
    None."""
    return unfit(recipe, config) or (None if recipe.emulate else _unserved(recipe, config, device))


def unfit(recipe: Recipe, config: dict[str, Any]) -> str | None:
    """Return why a recipe cannot be made at all, whatever device is to run it, or None."""
    if why := misnamed(recipe, config):
        return why
    found = layer_schemes(recipe, config)
    embedding = recipe.component_schemes["embedding"]
    schemes = {one.scheme for one in (*found.values(), embedding)}
    if schemes == {"none"}:
        return "every layer is left alone: nothing would be quantized"
    if recipe.emulate and "W8A8" in schemes:
        return "W8A8 rounds activations, which weights cannot emulate"
    if not recipe.emulate:
        if embedding.scheme not in ("none", "W8A8"):
            return f"an embedding is served in W8A8, not in {embedding}; emulate can prove it"
        if {one.scheme for one in found.values()} == {"none"}:
            return "nothing but the embedding would be quantized"
    return _undivided(recipe, config, found) or _undivided_embedding(embedding, config)


def _undivided(recipe: Recipe, config: dict[str, Any], found: dict[str, LayerScheme]) -> str | None:
    """Return which group size does not divide the width of an input that it is to divide."""
    for group, (width, _) in fused_groups(config).items():
        size = found[group].group_size
        if size != "channel" and width % size:
            where = _named(recipe, config, group)
            return f"groups of {size} do not divide a width of {width}{where}"
    return None


def _undivided_embedding(embedding: LayerScheme, config: dict[str, Any]) -> str | None:
    width, size = config["d_model"], embedding.group_size
    undivided = size != "channel" and width % size
    return f"groups of {size} do not divide a width of {width}" if undivided else None


def _named(recipe: Recipe, config: dict[str, Any], group: str) -> str:
    """Return a group's name, and what gives it its scheme, where that is not the whole recipe's."""
    by = decided_by(recipe, config, group)
    return f" ({group}, by {by})" if by else ""


def _unserved(recipe: Recipe, config: dict[str, Any], device: Device) -> str | None:
    shapes = fused_groups(config)
    if device == "cuda" and recipe.schemes["embedding"] != "none":
        return f"an embedding in eight bits was never served on this device ({device})"
    for group, one in layer_schemes(recipe, config).items():
        if one.scheme != "none" and one.scheme not in SERVED[device]:
            runs = ", ".join(sorted(SERVED[device]))
            return (
                f"vLLM has no kernel for {one.scheme} on this device ({device}), which runs {runs}"
                f"{_named(recipe, config, group)}; emulate can prove it"
            )
        odd = [width for width in shapes[group] if width % _CPU_TILE]
        if device == "cpu" and one.scheme == "W4A16" and odd:
            return (
                f"the CPU's kernel takes widths in multiples of {_CPU_TILE}, not {odd[0]}"
                f"{_named(recipe, config, group)}"
            )
    return None
