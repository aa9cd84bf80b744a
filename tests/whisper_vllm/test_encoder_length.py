"""The encoder is as long as a window where that was measured to cost no text."""

import json

import numpy as np
import pytest

from app.errors import BadSource
from app.models.whisper_vllm import encoder_length
from app.models.whisper_vllm.encoder_length import (
    FEWEST,
    MARGIN_MS,
    MOST_POINTS,
    EncoderLengths,
    LengthClass,
    class_of,
    keep,
    padded,
)

WHOLE = 1500


def cost(longest_ms, points=0.0, recordings=FEWEST):
    return LengthClass(longest_ms, points, points - 1, points + 1, recordings)


def lengths(*classes):
    return EncoderLengths(classes, "checked")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 512}))
    return tmp_path


def test_a_window_has_its_own_positions_and_the_margins():
    ms = 20 * lengths(cost(30_000)).positions(3010)
    assert 3010 + MARGIN_MS <= ms < 3010 + MARGIN_MS + 20 * 16


def test_no_window_has_more_than_the_model_was_trained_with():
    assert lengths(cost(30_000)).positions(29_990) == WHOLE


@pytest.mark.parametrize("dear", [cost(15_000, MOST_POINTS + 0.01), cost(15_000, 0, FEWEST - 1)])
def test_classes_that_cost_too_much_or_that_too_few_speak_for_are_heard_whole(dear):
    several = lengths(cost(5000), dear, cost(30_000))
    assert several.positions(5000) < WHOLE
    assert several.positions(5001) == several.positions(15_000) == WHOLE
    assert several.positions(15_001) < WHOLE


def test_what_was_not_measured_is_heard_whole():
    assert lengths(cost(5000)).positions(5001) == WHOLE
    assert EncoderLengths().positions(1000) == WHOLE


def test_a_checkpoint_that_nobody_measured_is_heard_whole(folder):
    found = EncoderLengths.of(folder, "auto", lambda: "unknown")
    assert (found.source, found.positions(1000)) == ("off", WHOLE)


def test_what_was_measured_of_a_checkpoint_is_found_beside_it(folder):
    keep(folder, (cost(5000), cost(15_000, 3)))
    found = EncoderLengths.of(folder, "auto", lambda: "unknown")
    assert found.source == "checked"
    assert found.positions(2000) < WHOLE == found.positions(10_000)
    assert [one["short"] for one in found.facts["classes"]] == [True, False]


def test_checkpoints_that_we_measured_are_known_wherever_they_lie(folder, monkeypatch):
    monkeypatch.setattr(encoder_length, "_MEASURED", {"weights scheme": (cost(5000),)})
    found = EncoderLengths.of(folder, "auto", lambda: "weights scheme")
    assert (found.source, found.positions(2000) < WHOLE) == ("measured", True)


def test_weights_are_not_read_of_a_checkpoint_that_is_surely_another(folder):
    (folder / "config.json").write_text(json.dumps({"d_model": 1280}))
    assert EncoderLengths.of(folder, "auto", pytest.fail).source == "off"


def test_the_settings_prevail(folder):
    keep(folder, (cost(5000),))
    assert EncoderLengths.of(folder, "off", pytest.fail).positions(2000) == WHOLE
    assert EncoderLengths.of(folder, "on", pytest.fail).positions(10_000) < WHOLE


def test_a_measurement_in_another_form_is_refused(folder):
    (folder / "encoder.json").write_text(json.dumps({"classes": [{"seconds": 5}]}))
    with pytest.raises(BadSource):
        EncoderLengths.of(folder, "auto", pytest.fail)


def test_samples_are_padded_with_silence_to_the_positions():
    samples = np.ones(3000, np.float32)
    longer = padded(samples, 16)
    assert longer.dtype == np.float32
    assert longer.tolist() == [1.0] * 3000 + [0.0] * 2120
    assert len(padded(samples, 1)) == 3000


@pytest.mark.parametrize(
    ("ms", "bound"), [(1, 5000), (5000, 5000), (5001, 15_000), (40_000, 30_000)]
)
def test_a_window_is_measured_with_those_of_about_its_length(ms, bound):
    assert class_of(ms) == bound
