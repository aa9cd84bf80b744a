"""A scenario, its limits and what was measured make a choice."""

import pytest

from app.tuning.choice import NothingFits
from app.tuning.options import REST, Option
from app.tuning.tuning import tuned
from app.tuning.wish import DEFAULT, Wish, card_bytes

CONFIG = {
    "d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120, "num_mel_bins": 80, "vocab_size": 51865,
}  # fmt: skip


def group(eight_seconds, four_seconds, four_loss):
    return [
        Option("none", 3.0, 8.0, 0.0), Option("W8A8", eight_seconds, 4.0, 0.001),
        Option("W4A16 g32", four_seconds, 2.4, four_loss),
        Option("W4A16 g128", four_seconds, 2.1, 2 * four_loss),
    ]  # fmt: skip


OPTIONS = {
    "encoder.layers.0.fc1": group(1.0, 2.8, 0.02),
    "decoder.layers.0.fc1": group(1.5, 1.2, 0.01),
    REST: [Option("none", 5.0, 10.0, 0.0)],
}
DEFAULTS = {"encoder.layers.0.fc1": "W8A8", "decoder.layers.0.fc1": "W4A16 g32"}


def test_latency_takes_what_is_fastest_at_no_more_loss_than_the_default():
    found = tuned(Wish("latency"), OPTIONS, DEFAULTS)
    assert found.schemes == DEFAULTS
    assert found.choice.seconds == pytest.approx(5 + 1.0 + 1.2)


def test_memory_takes_what_is_smallest():
    found = tuned(Wish("memory", most_loss=1.0), OPTIONS, DEFAULTS)
    assert set(found.schemes.values()) == {"W4A16 g128"}


def test_a_limit_on_bytes_counts_what_is_in_no_group():
    found = tuned(Wish("latency", most_bytes=15.0, most_loss=1.0), OPTIONS, DEFAULTS)
    assert found.choice.bytes <= 15.0
    with pytest.raises(NothingFits, match="contradict"):
        tuned(Wish("latency", most_bytes=14.1, most_loss=1.0), OPTIONS, DEFAULTS)


def test_of_choices_as_fast_the_one_that_loses_least_is_taken():
    close = {"decoder.layers.0.fc1": group(1.2, 1.2, 0.01), REST: OPTIONS[REST]}
    found = tuned(Wish("latency"), close, {"decoder.layers.0.fc1": "W4A16 g32"})
    assert found.schemes == {"decoder.layers.0.fc1": "W8A8"}


def test_a_uniform_recipe_that_nothing_beats_is_named():
    found = tuned(Wish("latency"), OPTIONS, DEFAULTS)
    assert DEFAULT in found.unbeaten
    assert "none" in found.unbeaten  # nothing else loses nothing
    assert "W4A16 g128" not in found.unbeaten


def test_what_a_choice_by_layer_gains_at_no_more_loss_is_told():
    found = tuned(Wish("latency"), OPTIONS, DEFAULTS)
    slow = found.uniform["W4A16 g128"]
    assert found.instead["W4A16 g128"].loss <= slow.loss
    assert found.gain("W4A16 g128") == pytest.approx(1 - 7.2 / 9.0)
    assert found.gain("none") == 0


def test_of_the_default_recipe_what_a_group_cannot_take_is_left_alone():
    found = tuned(Wish("latency"), OPTIONS, dict.fromkeys(DEFAULTS, "W4A16 g64"))
    assert found.uniform[DEFAULT].schemes == found.uniform["none"].schemes


def test_what_is_chosen_is_on_the_front():
    found = tuned(Wish("latency"), OPTIONS, DEFAULTS)
    assert found.choice in found.front


def test_a_cards_room_is_what_a_window_and_cuda_leave():
    assert 5e9 < card_bytes(CONFIG, 8) < 7e9
    assert card_bytes(CONFIG, 1) < 0
