"""marlinscribe tune: what it chooses by what was measured, writes, and refuses."""

import json
from pathlib import Path

import pytest

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.cli import main
from app.commands import tune
from app.environment import DEMO_MODEL
from app.quantization import choosing
from app.quantization.measuring import Measurer
from app.quantization.request import QuantizationRequest
from app.sources.source import Source
from app.tuning.tuning import tuned
from tests.tuning.fakes import CONFIG, engine, findings


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Findings that are not measured; a test may put others in their place."""
    found = [findings()]

    async def of(self, source, reporter, calibration=None):
        return found[-1]

    async def lost(self, source, several, reporter, calibration=None):
        return [0.01 * number for number, _ in enumerate(several, 1)]

    monkeypatch.setattr(choosing, "tuned_apart", tuned)
    monkeypatch.setattr(Measurer, "findings", of)
    monkeypatch.setattr(Measurer, "losses", lost)
    monkeypatch.setattr(tune, "check_device", lambda device: None)
    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    monkeypatch.setenv("MARLINSCRIBE_MODEL", str(DEMO_MODEL))
    return found


def ordered(capsys, *arguments):
    """The order that is printed, and what people are told."""
    assert main(["tune", *arguments]) == 0
    out, err = capsys.readouterr()
    return QuantizationRequest.model_validate_json(out), err


def test_what_is_printed_is_an_order(measured, capsys):
    order, told = ordered(capsys, "--scenario", "latency")
    assert (order.recipe.scheme, order.recipe.method) == ("W8A8", "rtn")
    assert order.recipe.layers == {}  # one scheme for all
    assert "chosen" in told
    assert "does a choice by layer beat" in told
    assert "0.01000 nats a token are lost, by the default in four bits 0.02000" in " ".join(
        told.split()
    )


def test_four_bits_are_learned_with_gptq(measured, capsys):
    order, _ = ordered(capsys, "--scenario", "memory", "--most-loss", "1")
    assert (order.recipe.scheme, order.recipe.group_size) == ("W4A16", 128)
    assert order.recipe.method == "gptq"
    assert order.recipe.calibration is None  # the settings' own, also when it is made


def test_the_recipe_knows_its_device_and_what_it_was_chosen_from(measured, capsys):
    order, _ = ordered(capsys, "--scenario", "throughput")
    record = order.recipe.tuned
    assert record.device == measured[0].device
    assert record.at_once == 16
    assert record.chosen in record.front
    assert "the default in four bits" in record.uniform


def test_an_order_goes_into_a_file(measured, capsys, tmp_path):
    file = tmp_path / "order.json"
    assert main(["tune", "--scenario", "latency", "--out", str(file)]) == 0
    order = QuantizationRequest.model_validate_json(file.read_bytes())
    assert isinstance(order.recipe, Recipe)
    assert order.recipe.tuned
    assert capsys.readouterr().out == ""


def test_a_budget_that_nothing_fits_is_refused_with_the_least_that_would(measured, capsys):
    assert main(["tune", "--scenario", "latency", "--most-mb", "0.1", "--most-loss", "9"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "Nothing fits" in told
    assert "the least that would do is" in told


def test_limits_that_contradict_are_refused_with_what_each_would_have_to_be(measured, capsys):
    assert main(["tune", "--scenario", "latency", "--most-ms", "1", "--most-loss", "9"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "contradict" in told
    assert "the least that would do is" in told


def test_a_card_without_room_for_a_window_is_refused(measured, capsys):
    assert main(["tune", "--scenario", "memory", "--vram", "0.5"]) == 1
    assert "no room for one window" in " ".join(capsys.readouterr().err.split())


def test_where_nothing_is_to_be_quantized_that_is_said(measured, capsys):
    assert main(["tune", "--scenario", "latency", "--most-loss", "1e-9"]) == 1
    assert "nothing is gained by quantizing" in " ".join(capsys.readouterr().err.split())


def test_a_proof_without_a_checkpoint_is_refused(measured, capsys):
    assert main(["tune", "--scenario", "latency", "--prove", "somewhere"]) == 2


def test_a_device_whose_times_vary_is_told(measured, capsys):
    measured.append(findings(spread=0.31))
    _, told = ordered(capsys, "--scenario", "latency")
    assert "varies from round to round, also when measured again" in told
    assert "31%" in told


def test_what_is_quantized_already_is_refused(measured, capsys, tmp_path):
    (tmp_path / "made").mkdir()
    for path in DEMO_MODEL.iterdir():
        (tmp_path / "made" / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "made" / "config.json"
    config.write_text(
        json.dumps(CONFIG | {"quantization_config": {"quant_method": "compressed-tensors"}}),
        "utf-8",
    )
    assert main(["tune", str(tmp_path / "made"), "--scenario", "latency"]) == 1
    assert "is quantized already" in " ".join(capsys.readouterr().err.split())


def test_it_is_made_and_timed(measured, capsys, monkeypatch, tmp_path):
    orders = []

    async def run_job(order, loader, reporter):
        orders.append(order)
        return Checkpoint(Source("made", tmp_path, ""), tmp_path), None

    async def timed(self, checkpoint, source):
        return engine()

    monkeypatch.setattr(tune, "run_job", run_job)
    monkeypatch.setattr(Measurer, "engine", timed)
    assert main(["tune", "--scenario", "latency", "--make"]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()) == tmp_path
    assert orders[0].recipe.tuned
    assert "an encoder's pass" in err
    assert "a clip of 10 s, 1 at once" in " ".join(err.split())
