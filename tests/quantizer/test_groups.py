"""Config groups name exactly what a recipe gives a scheme, in transformers' names and in vLLM's."""

import re

import pytest

from app.checkpoints.fused_groups import LINEARS, fused_groups, layer_schemes, parts
from app.checkpoints.recipe import Recipe
from app.quantizer import groups

WHISPER = {
    "d_model": 256,
    "encoder_layers": 12,
    "encoder_ffn_dim": 1024,
    "decoder_layers": 2,
    "decoder_ffn_dim": 1024,
}
RECIPES = [
    Recipe(components={"encoder.mlp": "W8A8", "decoder.mlp": "none"}),
    Recipe(components={"decoder.mlp": "W4A16 g32"}),
    Recipe(layers={"encoder.layers.1.*": "W8A8", "*.self_attn.qkv": "W4A16 g32"}),
    Recipe(layers={"*": "none", "encoder.layers.1[01].fc1": "W4A16 channel",
                   "decoder.layers.0.encoder_attn.kv": "W8A8"}),
]  # fmt: skip


def names(group):
    """A group's linears, as transformers calls them and as vLLM 0.32 asks."""
    stack, layer, name = parts(group)
    within = "layers.mlp" if name.startswith("fc") else "layers"
    for linear in LINEARS[name]:
        yield f"model.{stack}.layers.{layer}.{linear}"
        yield f".{stack}.layers.{layer}.{within}.{linear}"


def matching(patterns, name):
    regular = [one.removeprefix("re:") for one in patterns if one.startswith("re:")]
    return sum(bool(re.match(one, name)) for one in regular)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_linear_is_named_once_by_its_own_scheme(recipe):
    found = groups.config_groups(recipe, WHISPER)
    ignored = groups.ignored(recipe, WHISPER)
    for group, one in layer_schemes(recipe, WHISPER).items():
        own = [] if one.scheme == "none" else [groups.weights_of(one, recipe)]
        for name in names(group):
            hits = [g["weights"] for g in found.values() if matching(g["targets"], name)]
            assert hits == own, name
            assert matching(ignored, name) == (one.scheme == "none"), name


def test_one_scheme_throughout_is_written_as_before():
    everything = groups.config_groups(Recipe(), WHISPER)
    assert [one["targets"] for one in everything.values()] == [["Linear"]]
    assert everything == groups.config_groups(Recipe(layers={"*.fc1": "W4A16 g128"}), WHISPER)
    assert groups.ignored(Recipe(), WHISPER) == ["proj_out", "lm_head"]


def test_linears_of_a_fused_group_are_wanted_alike():
    linears = [name for group in fused_groups(WHISPER) for name in names(group)][::2]
    recipe = Recipe(layers={"decoder.layers.0.encoder_attn.kv": "W8A8", "encoder.*": "none"})
    found = groups.wanted(recipe, WHISPER, [*linears, "proj_out"])
    eight = [name for name, scheme in found.items() if scheme == "W8A8"]
    assert eight == [f"model.decoder.layers.0.encoder_attn.{one}_proj" for one in "kv"]
    assert len(found) == 2 * 10
