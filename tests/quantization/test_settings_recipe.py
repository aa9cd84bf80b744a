"""What the settings leave open, the model's size decides."""

import json

import pytest

from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.quantization.settings_recipe import possible_recipes, settings_recipe
from app.recordings.read import read
from app.settings import Settings
from app.sources.source import Source

EIGHT = {"encoder.attention": "W8A8", "encoder.mlp": "W8A8"}


@pytest.fixture
def source(tmp_path):
    def of_width(width):
        (tmp_path / "config.json").write_text(json.dumps({"d_model": width}))
        return Source("mine", tmp_path, "")

    return of_width


@pytest.mark.parametrize("width", [384, 512, 768])
def test_a_small_model_keeps_its_encoder_in_eight_bits_on_a_card(source, width):
    recipe = settings_recipe(Settings(), source(width), "cuda")
    assert (recipe.method, recipe.scheme, recipe.group_size) == ("gptq", "W4A16", 32)
    assert recipe.components == EIGHT


@pytest.mark.parametrize("width", [384, 512, 768])
def test_a_small_model_has_eight_bits_throughout_on_a_processor(source, width):
    recipe = settings_recipe(Settings(), source(width), "cpu")
    assert recipe == Recipe(method="rtn", scheme="W8A8", components={"embedding": "W8A8"})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("width", [256, 1024, 1280])
def test_any_other_has_four_bits_throughout(source, width, device):
    recipe = settings_recipe(Settings(), source(width), device)
    assert (recipe.method, recipe.scheme, recipe.group_size) == ("gptq", "W4A16", 128)
    assert recipe.components == {}


def test_what_the_settings_say_goes_before_the_size(source):
    plain = settings_recipe(Settings(quantization="gptq"), source(512), "cpu")
    assert (plain.components, plain.group_size) == ({}, 128)
    wide = settings_recipe(Settings(group_size=64), source(512), "cpu")
    assert (wide.components, wide.group_size) == (EIGHT, 64)
    rounded = settings_recipe(Settings(quantization="rtn"), source(512), "cpu")
    assert (rounded.components, rounded.calibration) == ({}, None)


def test_the_bundled_voices_are_learned_from_and_by_the_demo_its_own(source):
    voices = settings_recipe(Settings(), source(512), "cuda").calibration
    assert voices.sources[0].source == str(DEMO / "recordings" / "voices" / "calibration")
    demo = Source("marine-radio", DEMO / "marine-radio", "")
    own = settings_recipe(Settings(model="demo"), demo, "cpu").calibration
    assert own.sources[0].source == str(DEMO / "recordings" / "calibration")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_while_the_size_is_not_known_either_recipe_may_be_wanted(source, device):
    possible = possible_recipes(Settings(), None, device)
    assert possible == [settings_recipe(Settings(), source(width), device) for width in (1280, 512)]
    assert possible_recipes(Settings(), source(512), device) == possible[1:]


def test_a_model_of_english_alone_learns_from_the_bundled_english(source):
    english = source(512)
    (english.folder / "config.json").write_text(json.dumps({"d_model": 512, "vocab_size": 51864}))
    bundled = settings_recipe(Settings(), english, "cuda").calibration
    assert {clip.language for clip in read(bundled)} == {"en"}
    assert bundled.samples < Settings().calibration_samples  # all that there are
    few = settings_recipe(Settings(calibration_samples=4), english, "cuda").calibration
    assert len(read(few)) == 4
    own = settings_recipe(Settings(calibration="mine"), english, "cuda").calibration
    assert not own.mix
