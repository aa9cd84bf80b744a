"""marlinscribe tune: what it chooses by what was measured, writes, and refuses."""

import json
from pathlib import Path

import pytest

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.device import device_facts
from app.cli import main
from app.commands import tune
from app.environment import DEMO_MODEL
from app.quantization.request import QuantizationRequest
from app.sources.source import Source
from app.tuning.cost import EngineTimes
from app.tuning.engine_times import Measured
from app.tuning.groups import SCHEMES, groups_of
from app.tuning.linear_times import ROWS, LinearTimes, Timed
from app.tuning.measuring import Findings, Measurer

CONFIG = json.loads((DEMO_MODEL / "config.json").read_text("utf-8"))
GROUPS = groups_of(CONFIG)
SECONDS = {"none": 4e-4, "W8A8": 2e-4, "W4A16 g32": 3e-4, "W4A16 g128": 3e-4}
LOSSES = {"W8A8": 1e-4, "W4A16 g32": 1e-3, "W4A16 g128": 2e-3}
ENGINE = Measured(EngineTimes(0.1, {1: 0.03, 4: 0.03, 16: 0.03}), {1: 1.0}, 50, 10.0, 0.0)


def findings(spread=0.0):
    """What would be measured where eight bits are the fastest."""
    shapes = sorted({group.shape for group in GROUPS})
    times = [
        Timed(shape, scheme, rows, SECONDS[scheme], spread, "Kernel")
        for shape in shapes
        for scheme in SCHEMES
        for rows in ROWS
    ]
    losses = {f"{group.name} {scheme}": loss for group in GROUPS for scheme, loss in LOSSES.items()}
    facts = device_facts("cpu", "bfloat16")
    return Findings(facts, GROUPS, LinearTimes(times), ENGINE, losses)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Findings that are not measured; a test may put others in their place."""
    found = [findings()]

    async def of(self, source, reporter):
        return found[-1]

    async def lost(self, source, several, reporter):
        return [0.01 * number for number, _ in enumerate(several, 1)]

    monkeypatch.setattr(Measurer, "findings", of)
    monkeypatch.setattr(Measurer, "losses", lost)
    monkeypatch.setattr(tune, "check_device", lambda device: None)
    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    monkeypatch.setenv("MARLINSCRIBE_MODEL", str(DEMO_MODEL))
    return found


def tuned(capsys, *arguments):
    """The order that is printed, and what people are told."""
    assert main(["tune", *arguments]) == 0
    out, err = capsys.readouterr()
    return QuantizationRequest.model_validate_json(out), err


def test_what_is_printed_is_an_order(measured, capsys):
    order, told = tuned(capsys, "--scenario", "latency")
    assert set(order.recipe.layers.values()) == {"W8A8"}
    assert order.recipe.method == "rtn"
    assert "chosen" in told
    assert "does a choice by layer beat" in told
    assert "0.01000 nats a token are lost, by the default recipe 0.02000" in " ".join(told.split())


def test_four_bits_are_learned_with_gptq(measured, capsys):
    order, _ = tuned(capsys, "--scenario", "memory", "--most-loss", "1")
    assert set(order.recipe.layers.values()) == {"W4A16 g128"}
    assert order.recipe.method == "gptq"


def test_the_recipe_knows_its_device_and_what_it_was_chosen_from(measured, capsys):
    order, _ = tuned(capsys, "--scenario", "throughput")
    record = order.recipe.tuned
    assert record.device == measured[0].device
    assert record.at_once == 16
    assert record.chosen in record.front
    assert "the default recipe" in record.uniform


def test_an_order_goes_into_a_file(measured, capsys, tmp_path):
    file = tmp_path / "order.json"
    assert main(["tune", "--scenario", "latency", "--out", str(file)]) == 0
    assert QuantizationRequest.model_validate_json(file.read_bytes()).recipe.layers
    assert capsys.readouterr().out == ""


def test_a_budget_that_nothing_fits_is_refused_with_the_least_that_would(measured, capsys):
    assert main(["tune", "--scenario", "latency", "--most-mb", "0.1", "--most-loss", "9"]) == 1
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
    _, told = tuned(capsys, "--scenario", "latency")
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

    async def engine(self, checkpoint, recordings):
        return ENGINE

    monkeypatch.setattr(tune, "run_job", run_job)
    monkeypatch.setattr(Measurer, "engine", engine)
    assert main(["tune", "--scenario", "latency", "--make"]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()) == tmp_path
    assert orders[0].recipe.layers
    assert "an encoder's pass" in err
