"""Rows of the table of methods are made once, measured once, and not again."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from app.recordings.spec import Recordings
from bench import method_losses
from bench.method_losses import Job, Losses, rounded_activations
from bench.method_rows import Making, Row

FOUR, EIGHT = Row(Making("rtn", 4)), Row(Making("rtn", 4), 8)
OTHER = Row(Making("hqq", 4))


class Maker:
    """Makes nothing, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def make(self, making):
        self.asked.append(making)
        return None, {}


class Small(Losses):
    """Losses without a model."""

    _source = None

    def __init__(self, job):
        self._job, self._judge = job, []
        self._maker: Any = Maker()

    def _scores(self, model):
        return []

    def _figures(self, source, candidate):
        return {"overall": {"nll_difference": {"value": 0.0}}}


@pytest.fixture
def losses(tmp_path, monkeypatch):
    monkeypatch.setattr(method_losses, "rounded_activations", lambda *_: nullcontext())
    none = Recordings(sources=("nowhere",))
    rows = [FOUR, OTHER, EIGHT]
    return Small(Job(folder=tmp_path, calibration=none, judge=none, rows=rows, done=tmp_path))


def test_rows_that_differ_in_activations_alone_are_made_once(losses, tmp_path):
    losses.run()
    assert losses._maker.asked == [FOUR.making, OTHER.making]
    assert all((tmp_path / f"{row.name}.json").exists() for row in (FOUR, OTHER, EIGHT))


def test_a_row_that_is_known_is_not_made_again(losses, tmp_path):
    (tmp_path / f"{OTHER.name}.json").write_text("{}")
    losses.run()
    assert losses._maker.asked == [FOUR.making]


def test_a_job_s_rows_survive_the_way_through_json(losses):
    assert Job.model_validate_json(losses._job.model_dump_json()).rows == [FOUR, OTHER, EIGHT]


def test_inputs_are_rounded_for_as_long_as_they_are_to_be(monkeypatch):
    linear = torch.nn.Linear(8, 1, bias=False)
    monkeypatch.setattr("app.quantizer.rounding.grouped", lambda model: {"one": [linear]})
    numbers = torch.linspace(-1, 1, 8)[None] ** 3
    before = linear(numbers)
    with rounded_activations(SimpleNamespace(), 8):
        assert not torch.equal(linear(numbers), before)
    with rounded_activations(SimpleNamespace(), 16):
        assert torch.equal(linear(numbers), before)
