"""An order that leaves its recipe to the machine, on the real engine: measured, chosen, made,
proven, timed and promoted."""

import json
from typing import Any

import httpx
import pytest

from harness.server import DEMO, Server
from tests.engine.conftest import FEW_CLIPS, MAYDAY, MAYDAY_WORDS, ROUNDED
from tests.engine.test_quantize import ADMIN, KEY, admin, over

PROOF = {"sources": f"{DEMO}/recordings/test", "samples": 4, "mix": {"en": 1, "zh": 1}}
RECIPE = {"scheme": "auto", "scenario": "latency"}
ORDER: dict[str, Any] = {
    "recipe": RECIPE,
    "proof": PROOF,
    "thresholds": {"min_recovery": 0.2},
    "promote": "auto",
}


STAGES = [
    "timing the layers",
    "timing the engine",
    "scoring the layers",
    "choosing",
    "measuring the choice",
    "quantizing",
    "timing the candidate",
    "promoting",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("auto")


@pytest.fixture(scope="module")
def server(cache):
    settings = {"cache_dir": cache, "admin_key": KEY, "while_quantizing": "maintenance"}
    with Server(**settings, **FEW_CLIPS, **ROUNDED) as server:
        yield server


@pytest.fixture(scope="module")
def job(server):
    """An order that is over, and its events."""
    name = admin(server, "POST", "/quantize", json=ORDER).json()["id"]
    with httpx.stream(
        "GET", f"{server.url}/quantize/{name}/events", headers=ADMIN, timeout=600
    ) as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if "{" in line]
    return over(server, name), [json.loads(line) for line in lines]


def test_what_is_chosen_is_made_proven_timed_and_served(server, job):
    body, _ = job
    assert (body["status"], body["error"]) == ("promoted", None), body["error"]
    assert body["recipe"]["tuned"]["scenario"] == "latency"
    assert body["choice"]["asked"]["scheme"] == "auto"
    assert body["proof"]["passed"]
    for times in body["choice"]["seconds"].values():
        assert min(times["encoder"], times["step"], times["clip"]) > 0
    assert body["choice"]["seconds"].keys() == {"source", "predicted", "candidate"}
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
    (model,) = (
        one for one in httpx.get(f"{server.url}/v1/models").json()["data"]
        if not one["marlinscribe"].get("alias_of")
    )  # fmt: skip
    assert model["marlinscribe"]["scheme"] == body["checkpoint"]["scheme"]


def test_its_events_tell_each_stage_and_how_long_it_takes(job):
    _, events = job
    stages = [event["stage"] for event in events if event["type"].endswith(".stage")]
    assert [stage for stage in stages if stage in STAGES] == STAGES
    timed = [event for event in events if event.get("stage") == "timing the layers"]
    assert timed[-1]["done"] == timed[-1]["total"] > 0
    assert timed[-1]["eta_seconds"] == 0


def test_its_report_explains_the_choice(server, job):
    body, _ = job
    shown = httpx.get(f"{server.url}/quantize/{body['id']}/report", headers=ADMIN).text
    for part in ("bits", "choice", "times"):
        assert f'id="{part}"' in shown


def test_the_same_order_is_the_same_job_and_another_measures_nothing_again(server, cache, job):
    body, _ = job
    again = admin(server, "POST", "/quantize", json=ORDER)
    assert (again.status_code, again.json()["id"]) == (200, body["id"])
    tight = ORDER | {"recipe": {**RECIPE, "most_seconds": 1e-6}, "promote": "never"}
    answer = admin(server, "POST", "/quantize", json=tight)
    assert answer.status_code == 202
    other = over(server, answer.json()["id"])
    assert (other["status"], other["error"]["code"]) == ("failed", "bad_recipe")
    assert "the least that would do is" in other["error"]["message"]
    costs = [*(cache / "costs").iterdir()]
    assert len(costs) == 2  # of layers and of the engine: nothing was timed again


def test_what_contradicts_is_refused_with_its_field(server):
    asked = {"recipe": {**RECIPE, "layers": {"*": "W8A8"}}, "proof": PROOF}
    error = admin(server, "POST", "/quantize", json=asked).json()["error"]
    assert (error["param"], error["code"]) == ("recipe.layers", "invalid_value")
