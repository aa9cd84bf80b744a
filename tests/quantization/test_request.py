"""An order, and when a candidate is proven: as they come over the wire."""

import pytest
from pydantic import ValidationError

from app.checkpoints.recipe import Recipe
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.request import Limits, QuantizationRequest, Thresholds

SOME = {"sources": ["somewhere"]}


def test_nothing_need_be_said():
    request = QuantizationRequest.model_validate({})
    assert (request.model, request.calibration, request.proof) == (None, None, None)
    assert request.recipe == Recipe()
    assert request.promote == "manual"
    assert request.thresholds.min_recovery == 0.9


def test_it_is_the_same_after_a_way_through_json():
    request = QuantizationRequest.model_validate(
        {
            "model": "openai/whisper-tiny",
            "recipe": {"scheme": "W8A8"},
            "calibration": SOME,
            "proof": {"sources": {"source": "x", "language": "zh"}, "samples": None},
            "thresholds": {"max_increase": 0.01, "languages": {"zh": {"min_recovery": 0.8}}},
            "promote": "auto",
        }
    )
    assert QuantizationRequest.model_validate(request.as_json()) == request


@pytest.mark.parametrize(
    "given",
    [{"promote": "later"}, {"models": "x"}, {"model": 3}, {"recipe": "W4A16"}, {"proof": "x"},
     {"thresholds": {"min_recovery": 1.1}}, {"thresholds": {"max_increase": -0.1}},
     {"thresholds": {"max_error_rate": -1}}, {"thresholds": {"max_nll_increase": -1}},
     {"thresholds": {"min_token_agreement": 2}}, {"thresholds": {"min_recovery": float("nan")}},
     {"thresholds": {"max_nll_increase": float("nan")}}, {"thresholds": {"wer": 1}},
     {"thresholds": {"languages": {"en": {"max_nll_increase": 1}}}},
     {"thresholds": {"languages": {"en": 3}}}, {"thresholds": {"languages": 3}}],
)  # fmt: skip
def test_what_is_no_choice_is_refused(given):
    with pytest.raises(ValidationError):
        QuantizationRequest.model_validate(given)


def test_calibration_is_given_once():
    with pytest.raises(ValidationError, match="calibration is given twice"):
        QuantizationRequest.model_validate({"recipe": {"calibration": SOME}, "calibration": SOME})


def test_what_is_emulated_is_not_promoted_by_itself():
    with pytest.raises(ValidationError, match="cannot be served"):
        QuantizationRequest.model_validate({"recipe": {"emulate": True}, "promote": "auto"})
    for promote in ("manual", "never"):
        QuantizationRequest.model_validate({"recipe": {"emulate": True}, "promote": promote})


# Thresholds


@pytest.mark.parametrize("kind", [Limits, Thresholds])
def test_an_intervals_low_end_is_not_asked_to_be_above_the_estimate(kind):
    with pytest.raises(ValidationError, match="min_recovery_low is above min_recovery"):
        kind(min_recovery=0.9, min_recovery_low=0.95)
    assert kind(min_recovery=0.9, min_recovery_low=0.9).min_recovery_low == 0.9
    assert kind(min_recovery=None, min_recovery_low=0.95).min_recovery_low == 0.95


def test_the_default_estimate_counts_too():
    with pytest.raises(ValidationError, match="min_recovery_low is above"):
        Limits(min_recovery_low=0.95)


def test_what_a_language_leaves_unsaid_is_as_strict_as_for_the_others():
    thresholds = Thresholds(
        min_recovery=0.95,
        max_increase=0.02,
        languages={"zh": {"max_increase": 0.05}, "ja": {"min_recovery": None}, "de": {}},
    )
    assert thresholds.of("zh") == Limits(min_recovery=0.95, max_increase=0.05)
    assert thresholds.of("ja") == Limits(min_recovery=None, max_increase=0.02)
    assert thresholds.of("de") == Limits(min_recovery=0.95, max_increase=0.02)
    assert (thresholds.of("en").min_recovery, thresholds.of("en").max_increase) == (0.95, 0.02)


def test_what_is_inherited_is_looked_at_together_with_what_is_said():
    """Of both alone nothing is wrong."""
    general = {"min_recovery": 0.95, "min_recovery_low": 0.9}
    with pytest.raises(ValidationError, match="min_recovery_low is above") as caught:
        Thresholds(**general, languages={"zh": {"min_recovery": 0.8}})
    assert caught.value.errors()[0]["loc"] == ("languages", "zh")
    high = Thresholds(min_recovery=0.99, languages={"zh": {"min_recovery_low": 0.95}})
    assert high.of("zh").min_recovery_low == 0.95


def test_every_limit_may_be_left_out():
    thresholds = Thresholds(min_recovery=None)
    assert set(thresholds.model_dump(exclude={"languages"}).values()) == {None}


@pytest.mark.parametrize("name", ["zh-TW", "Chinese"])
def test_a_language_may_be_named_as_people_name_it(name):
    own = Limits(min_recovery=0.5)
    assert Thresholds(languages={name: own}).of("zh") == own


@pytest.mark.parametrize("limit", ["max_error_rate", "max_nll_increase"])
def test_a_limit_without_bound_is_refused(limit):
    with pytest.raises(ValidationError):
        Thresholds(**{limit: float("inf")})


def test_limits_of_one_language_under_two_names_are_refused():
    with pytest.raises(ValidationError):
        Thresholds(languages={"zh": {"min_recovery": 0.99}, "Chinese": {"min_recovery": 0.1}})


@pytest.mark.parametrize(
    "fields",
    [
        {"thresholds": {"min_token_agreement": "0.5"}},
        {"thresholds": {"max_nll_increase": True}},
        {"recipe": {"dampening": "0.01"}},
        {"recipe": {"emulate": "true"}},
        {"proof": {"sources": "/data", "samples": "8"}},
        {"proof": {"sources": "/data", "samples": 8, "mix": {"en": "1"}}},
    ],
)
def test_what_is_in_quotes_is_neither_a_number_nor_a_truth(fields):
    with pytest.raises(ValidationError, match="should be a valid"):
        QuantizationRequest.model_validate(fields)


def test_a_whole_number_is_a_number():
    request = QuantizationRequest.model_validate(
        {"thresholds": {"min_recovery": 1}, "recipe": {"dampening": 0.1}}
    )
    assert request.thresholds.min_recovery == 1.0


# A recipe that is to be chosen

AUTO = {"scheme": "auto", "scenario": "latency"}


def test_a_recipe_may_be_left_to_the_machine():
    request = QuantizationRequest.model_validate({"recipe": AUTO | {"most_loss": 0.02}})
    assert request.recipe == AutoRecipe(scheme="auto", scenario="latency", most_loss=0.02)
    assert QuantizationRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("recipe", "field", "told"),
    [
        ({"scenario": "latency"}, "scenario", 'goes with scheme "auto" alone'),
        ({"scheme": "W8A8", "most_loss": 0.1}, "most_loss", 'goes with scheme "auto" alone'),
        (AUTO | {"layers": {"*": "W8A8"}}, "layers", "leave it out"),
        (AUTO | {"components": {}}, "components", "leave it out"),
        (AUTO | {"group_size": 128}, "group_size", "leave it out"),
        (AUTO | {"method": "awq"}, "method", "leave it out"),
        (AUTO | {"emulate": True}, "emulate", "leave it out"),
        ({"scheme": "auto"}, "scenario", "Field required"),
        (AUTO | {"scenario": "beauty"}, "scenario", "latency"),
        (AUTO | {"vram_gb": 0}, "vram_gb", "greater than 0"),
        (AUTO | {"most_seconds": "1"}, "most_seconds", "number"),
        (AUTO | {"budget": 1}, "budget", "Extra inputs"),
        (AUTO | {"method": "awq", "scenario": "beauty"}, "method", "leave it out"),
    ],
)
def test_what_contradicts_a_choice_is_refused_with_its_field(recipe, field, told):
    with pytest.raises(ValidationError) as caught:
        QuantizationRequest.model_validate({"recipe": recipe})
    fault = caught.value.errors()[0]
    assert fault["loc"] == ("recipe", field)
    assert told in fault["msg"]


@pytest.mark.parametrize("recipe", [3, None, [], "auto"])
def test_a_recipe_is_an_object(recipe):
    with pytest.raises(ValidationError) as caught:
        QuantizationRequest.model_validate({"recipe": recipe})
    assert caught.value.errors()[0]["loc"] == ("recipe",)
