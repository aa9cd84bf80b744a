"""A checkpoint whose bits were chosen for a device says so, and warns on another."""

import pytest
from pydantic import ValidationError

from app.checkpoints.device import described, device_facts, fingerprint
from app.checkpoints.recipe import Recipe
from app.checkpoints.tuned import Tuned, standing

HERE = device_facts("cpu", "bfloat16")
CHOSEN = {"seconds": 0.5, "bytes": 1e8, "loss": 0.01}


def tuned(device):
    return Tuned(
        scenario="latency", device=device, device_name=described(HERE), clip_seconds=10, at_once=1,
        chosen=CHOSEN,
    )  # fmt: skip


def test_on_its_own_device_it_is_told_without_a_warning(caplog):
    told = standing(tuned(fingerprint(HERE)), HERE)["tuned"]
    assert told == {"scenario": "latency", "device": described(HERE), "is_this_device": True}
    assert not caplog.messages


def test_on_another_device_it_is_labelled_and_tuning_again_is_offered(caplog):
    assert standing(tuned("0" * 16), HERE)["tuned"]["is_this_device"] is False
    (warning,) = caplog.messages
    assert "marlinscribe tune --scenario latency" in warning


def test_a_recipe_that_nobody_tuned_says_nothing(caplog):
    assert standing(None, HERE) == {}
    assert not caplog.messages


def test_a_fingerprint_that_is_none_is_refused():
    with pytest.raises(ValidationError):
        tuned("here")


@pytest.mark.parametrize("seconds", [False, "0.5", float("inf"), -1])
def test_what_is_no_number_of_seconds_is_refused(seconds):
    told = tuned("0" * 16).model_dump(mode="json")
    with pytest.raises(ValidationError):
        Tuned.model_validate(told | {"chosen": CHOSEN | {"seconds": seconds}})


def test_how_layers_were_chosen_makes_no_other_checkpoint():
    plain = Recipe(method="rtn", layers={"*": "W8A8"})
    explained = Recipe(method="rtn", layers={"*": "W8A8"}, tuned=tuned(fingerprint(HERE)))
    assert explained.facts() == plain.facts()
    assert Recipe.model_validate(explained.model_dump(mode="json")) == explained


def test_a_recipe_that_nobody_tuned_is_written_as_before():
    assert "tuned" not in Recipe(method="rtn").model_dump(mode="json")
