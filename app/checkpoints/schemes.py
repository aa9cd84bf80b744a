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

from app.checkpoints.recipe import Recipe, Scheme
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
    schemes = set(recipe.schemes.values()) - {"none"}
    if recipe.group_size != "channel" and schemes - {"W8A8"}:
        for width in widths(config):
            if width % recipe.group_size:
                return f"groups of {recipe.group_size} do not divide a width of {width}"
    if recipe.emulate and "W8A8" in schemes:
        return "W8A8 rounds activations, which weights cannot emulate"
    if not recipe.emulate and recipe.schemes["embedding"] != "none":
        return "vLLM's Whisper has no quantized embedding; emulate can prove it"
    return None


def _unserved(recipe: Recipe, config: dict[str, Any], device: Device) -> str | None:
    wanted = {scheme for scheme in recipe.schemes.values() if scheme != "none"}
    missing = sorted(wanted - SERVED[device])
    if missing:
        runs = ", ".join(sorted(SERVED[device]))
        return (
            f"vLLM has no kernel for {missing[0]} on this device ({device}), which runs {runs}; "
            "emulate can prove it"
        )
    if device == "cpu" and "W4A16" in wanted:
        for width in widths(config):
            if width % _CPU_TILE:
                return f"the CPU's kernel takes widths in multiples of {_CPU_TILE}, not {width}"
    return None


def widths(config: dict[str, Any]) -> list[int]:
    """Return the widths of every Linear's input and output."""
    return [config["d_model"], config["encoder_ffn_dim"], config["decoder_ffn_dim"]]
