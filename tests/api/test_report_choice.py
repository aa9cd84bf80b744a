"""The report explains a choice of bits by layer: what it was for, and what it was chosen from."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from app.api.report.choice import choice
from app.checkpoints.recipe import Recipe
from app.checkpoints.tuned import Tuned
from tests.api.test_report import job, page, proof

CHOSEN = {"seconds": 0.412, "bytes": 9.1e7, "loss": 0.0123}
SLOWER = {"seconds": 0.5, "bytes": 1.4e8, "loss": 0.0}
RECORD = {
    "scenario": "latency", "device": "0123456789abcdef", "device_name": "Processor <9>, 2 threads",
    "clip_seconds": 10, "at_once": 1, "limits": {"loss": 0.02}, "chosen": CHOSEN,
    "front": [SLOWER, CHOSEN], "uniform": {"none": SLOWER, "the default recipe": CHOSEN},
}  # fmt: skip


def asked(**changed):
    recipe = Recipe(method="rtn", layers={"*": "W8A8"}, tuned=Tuned(**RECORD | changed))
    return job(recipe=recipe.model_dump(mode="json"))


def test_it_says_for_what_and_on_which_device():
    shown = page(asked(), proof())
    assert 'id="choice"' in shown
    assert "the shortest time of one window on Processor &lt;9&gt;, 2 threads" in shown
    assert "412 ms" in shown
    assert "unquantized" in shown


def test_what_nobody_chose_by_layer_has_no_such_section():
    assert 'id="choice"' not in page(job(), proof())


def test_a_record_of_another_version_is_left_out():
    assert choice({"recipe": {"tuned": {"scenario": "beauty"}}}) is None
    assert choice({}) is None


def marks(told):
    root = ElementTree.fromstring(str(told.plot))
    return [one for one in root.iter() if one.tag == "circle"]


def test_the_front_the_uniform_recipes_and_the_choice_are_drawn():
    kinds = [one.get("class") for one in marks(choice(asked()))]
    assert kinds == ["own", "own", "source", "source", "candidate"]


def test_what_costs_less_is_further_left_and_what_loses_less_is_lower():
    slower, chosen = marks(choice(asked()))[:2]
    assert float(chosen.get("cx")) < float(slower.get("cx"))
    assert float(chosen.get("cy")) < float(slower.get("cy"))  # SVG's y grows downwards


@pytest.mark.parametrize("scenario", ["latency", "throughput", "memory"])
def test_a_single_point_is_drawn_too(scenario):
    told = choice(asked(scenario=scenario, front=[CHOSEN], uniform={}))
    assert len(marks(told)) == 2
    assert not re.search("nan|inf", str(told.plot))


def test_memory_is_in_megabytes():
    assert "MB of weights" in str(choice(asked(scenario="memory")).plot)


TIMED: dict[str, Any] = {
    "verdict": "A choice by layer beats every recipe.",
    "doubts": ["timed while requests were answered <often>"],
    "measured_loss": {"chosen": 0.00123, "default": 0.0045},
    "clip": {"at_once": 1, "tokens": 50},
    "seconds": {
        "source": {"encoder": 0.1, "step": 0.01, "clip": 0.6},
        "predicted": {"encoder": 0.05, "step": 0.008, "clip": 0.45},
        "candidate": {"encoder": 0.06, "step": 0.009, "clip": 0.51},
    },
}


def test_what_a_job_found_of_its_choice_is_told():
    shown = page(asked() | {"choice": TIMED}, proof())
    assert "A choice by layer beats every recipe." in shown
    assert "loses 0.00123 nats a token, the default in four bits 0.00450" in shown
    assert '<p class="warning">timed while requests were answered &lt;often&gt;</p>' in shown
    assert 'id="times"' in shown
    assert re.search("A clip</th><td>600.0 ms</td><td>450.0 ms</td><td>510.0 ms</td>", shown)


def test_before_it_is_made_nothing_is_timed():
    waiting = TIMED | {"seconds": {**TIMED["seconds"], "candidate": None}}
    assert 'id="times"' not in page(asked() | {"choice": waiting}, proof())


def test_what_another_version_kept_of_a_choice_is_left_out():
    told = choice(asked() | {"choice": {"seconds": {"candidate": {"mood": 1}}}})
    assert told.times[0] == ("The encoder", "– ms", "– ms", "– ms")


def test_bits_are_drawn_also_where_all_layers_were_given_the_same():
    schemes = {"encoder.layers.0.fc1": "W8A8", "decoder.layers.0.fc1": "W8A8"}
    made = proof(run={"making": {"schemes": schemes}})
    assert 'id="bits"' in page(asked(), made)
    assert 'id="bits"' not in page(job(), made)
