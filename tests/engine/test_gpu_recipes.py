"""What bench.gpu measures can be made, by the real quantizer, in a tiny shape."""

import json

from safetensors import safe_open

from bench.gpu import RECIPES, made
from bench.random_checkpoint import make

TINY = {
    "d_model": 128, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256,
}  # fmt: skip
FC1 = ("encoder.layers.0.fc1.weight", "decoder.layers.0.fc1.weight")


def kinds(folder):
    """The dtypes of both stacks' first linear, and the formats of the config groups."""
    with safe_open(next(folder.glob("*.safetensors")), "pt") as file:
        names = file.keys()
        types = [file.get_slice(n).get_dtype() for one in FC1 for n in names if n.endswith(one)]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    groups = config.get("quantization_config", {}).get("config_groups", {})
    return types, {group["format"] for group in groups.values()}


def test_every_recipe_for_a_card_is_made(tmp_path):
    source, _ = make(tmp_path / "source", max_target_positions=64, **TINY)
    found = {name: kinds(path) for name, path in made(source, tmp_path, with_float8=True)}
    assert list(found) == list(RECIPES)
    plain, four, eight, floats = found.values()
    assert plain == (["F16", "F16"], set())
    assert four == ([], {"pack-quantized"})
    assert eight == (["I8"], {"int-quantized", "pack-quantized"})
    assert floats == (["F8_E4M3"], {"float-quantized", "pack-quantized"})
