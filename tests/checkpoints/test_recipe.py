"""A recipe is typed: what makes no sense is refused before anything is spent on it."""

import pytest
from pydantic import ValidationError

from app.checkpoints.recipe import Recipe
from app.recordings.spec import Recordings, RecordingSet

LINEARS = [
    "encoder.attention",
    "encoder.mlp",
    "decoder.self_attention",
    "decoder.cross_attention",
    "decoder.mlp",
]


def test_every_linear_has_the_recipes_scheme_and_the_embedding_none():
    schemes = Recipe(scheme="W8A8").schemes
    assert schemes == dict.fromkeys(LINEARS, "W8A8") | {"embedding": "none"}


def test_components_may_have_schemes_of_their_own():
    schemes = Recipe(components={"encoder.mlp": "none", "embedding": "W8A16"}).schemes
    assert (schemes["encoder.mlp"], schemes["embedding"]) == ("none", "W8A16")
    assert schemes["decoder.mlp"] == "W4A16"


@pytest.mark.parametrize(
    "given",
    [{"method": "magic"}, {"scheme": "W5A16"}, {"group_size": 100}, {"group_size": "row"},
     {"observer": "mse"}, {"act_order": "dynamic"}, {"dampening": 0}, {"dampening": 1},
     {"components": {"decoder": "W8A8"}}, {"components": {"encoder.mlp": "W1A1"}},
     {"dtype": "float64"}, {"group": 128}, {"layers": {"*": "W5A16"}}, {"layers": {"": "W8A8"}},
     {"layers": {"*": "W8A8 g32"}}, {"layers": {"*": "W4A16 g100"}}, {"layers": {"*": "W4A16g32"}},
     {"layers": {"*": "none g32"}}, {"layers": ["*"]}, {"components": {"encoder.mlp": "g32"}}],
)  # fmt: skip
def test_what_is_no_choice_is_refused(given):
    with pytest.raises(ValidationError):
        Recipe(**given)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"method": "rtn", "calibration": {"sources": "x"}}, "rtn takes no calibration"),
        ({"method": "awq", "observer": "imatrix"}, "imatrix"),
        ({"method": "rtn", "observer": "imatrix"}, "imatrix"),
        ({"method": "awq", "act_order": "none"}, "act_order goes with gptq; awq has none"),
        ({"method": "autoround", "act_order": "none"}, "act_order goes with gptq"),
        ({"method": "rtn", "dampening": 0.1}, "dampening goes with gptq; rtn has none"),
        ({"components": dict.fromkeys(LINEARS, "none")}, "nothing would be quantized"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(given, why):
    with pytest.raises(ValidationError, match=why):
        Recipe.model_validate(given)


def test_the_embedding_alone_may_be_quantized():
    recipe = Recipe(components=dict.fromkeys(LINEARS, "none") | {"embedding": "W8A16"})
    assert recipe.schemes["embedding"] == "W8A16"


def test_layers_alone_may_be_quantized():
    recipe = Recipe(components=dict.fromkeys(LINEARS, "none"), layers={"*.fc1": "W4A16"})
    assert recipe.layers == {"*.fc1": "W4A16"}
    with pytest.raises(ValidationError, match="nothing would be quantized"):
        Recipe(components=dict.fromkeys(LINEARS, "none"), layers={"*.fc1": "none"})


def test_what_is_no_scheme_is_told_what_is_one():
    with pytest.raises(ValidationError, match='"W4A16g32" is no scheme: there are W4A16, W8A16'):
        Recipe(layers={"*": "W4A16g32"})


def test_layers_are_written_only_where_there_are_some():
    """Checkpoints of former versions keep their fingerprints."""
    assert "layers" not in Recipe().model_dump(mode="json")
    assert Recipe().facts() == Recipe().model_dump(mode="json")
    assert "layers" in Recipe(layers={"*": "W8A8"}).model_dump(mode="json")


def test_a_recipe_is_not_changed_after_it_was_looked_at():
    with pytest.raises(ValidationError):
        Recipe().scheme = "W8A8"  # type: ignore[misc]


def test_it_is_the_same_after_a_way_through_json():
    recipe = Recipe(
        scheme="W8A16",
        group_size="channel",
        components={"encoder.mlp": "W4A16"},
        layers={"z*": "W8A8", "a*": "W4A16 g32"},
        calibration={"sources": ["a", {"source": "b", "language": "zh"}], "mix": {"zh": 1}},
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    again = Recipe.model_validate(recipe.model_dump(mode="json"))
    assert again == recipe
    assert [*again.layers] == [*recipe.layers]


@pytest.mark.parametrize(
    ("recipe", "label"),
    [
        (Recipe(), "W4A16 gptq g128"),
        (Recipe(method="rtn", scheme="W8A8", group_size="channel"), "W8A8 rtn channel"),
        (Recipe(observer="imatrix", emulate=True), "W4A16 gptq g128 imatrix emulated"),
        (Recipe(components={"encoder.mlp": "none", "decoder.mlp": "W8A16"}),
         "W4A16 gptq g128 decoder.mlp=W8A16 encoder.mlp=none"),
        (Recipe(components={"decoder.mlp": "W4A16 g32"}), "W4A16 gptq g128 decoder.mlp=W4A16 g32"),
        (Recipe(layers={"encoder.*": "W8A8", "*.fc2": "none"}), "W4A16 gptq g128 layers=2"),
    ],
)  # fmt: skip
def test_its_label_says_what_differs(recipe, label):
    assert recipe.label == label


# Recordings


@pytest.mark.parametrize(
    "given", ["here", ["here"], {"source": "here"}, [{"source": "here", "language": "en"}]]
)
def test_a_source_may_be_given_in_short(given):
    assert Recordings(sources=given).sources == (RecordingSet(source="here", language="en"),)


def test_several_sources_keep_their_order():
    sources = Recordings(sources=["b", {"source": "a", "language": "zh"}]).sources
    assert [(one.source, one.language) for one in sources] == [("b", "en"), ("a", "zh")]


@pytest.mark.parametrize(
    "given",
    [{"sources": []}, {"sources": None}, {"sources": [3]}, {"sources": "x", "samples": 0},
     {"sources": "x", "mix": {"en": 0}}, {"sources": "x", "mix": {"en": -1}},
     {"sources": "x", "mix": {"en": float("nan")}}, {"sources": [{"language": "en"}]},
     {"sources": [{"source": "x", "split": "test"}]}, {"sources": "x", "seed": 1}, {}],
)  # fmt: skip
def test_recordings_that_are_none_are_refused(given):
    with pytest.raises(ValidationError):
        Recordings.model_validate(given)


def test_a_mix_is_of_a_number():
    with pytest.raises(ValidationError, match="a mix needs a number of samples"):
        Recordings(sources="x", samples=None, mix={"en": 1})


@pytest.mark.parametrize(
    "wanted", [{"samples": 10**19}, {"mix": {"en": float("inf")}}, {"mix": {"en": 1e308}}]
)
def test_numbers_out_of_all_proportion_are_refused(wanted):
    with pytest.raises(ValidationError):
        Recordings(sources="x", **wanted)
