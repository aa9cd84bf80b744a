"""A choice is written as patterns that give each group its scheme."""

from fnmatch import fnmatchcase

from app.checkpoints.recipe import Recipe
from app.tuning.groups import groups_of
from app.tuning.recipe import layers_of, schemes_of

CONFIG = {
    "d_model": 512, "encoder_layers": 4, "decoder_layers": 3, "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 2048,
}  # fmt: skip
NAMES = [group.name for group in groups_of(CONFIG)]


def read_back(layers):
    return schemes_of(Recipe(method="rtn", layers=layers), CONFIG)


def test_what_all_layers_share_is_one_pattern():
    layers = layers_of(dict.fromkeys(NAMES, "W8A8"))
    assert layers["encoder.layers.*.fc1"] == "W8A8"
    assert len(layers) == 4 + 7


def test_layers_that_differ_come_after_the_pattern_that_they_differ_from():
    schemes = dict.fromkeys(NAMES, "W8A8") | {"decoder.layers.1.fc2": "W4A16 g32"}
    layers = layers_of(schemes)
    assert list(layers)[-1] == "decoder.layers.1.fc2"
    assert fnmatchcase("decoder.layers.1.fc2", "decoder.layers.*.fc2")


def test_what_is_written_is_read_back_as_it_was_chosen():
    every = ("none", "W8A8", "W4A16 g32", "W4A16 g128")
    schemes = {name: every[number * number % 4 - number % 3] for number, name in enumerate(NAMES)}
    assert read_back(layers_of(schemes)) == schemes
