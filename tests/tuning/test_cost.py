"""What a clip costs is added up from layers and from what is not linear."""

import pytest

from app.tuning.cost import Cost, EngineTimes
from app.tuning.groups import WINDOW_ROWS, Group, groups_of
from app.tuning.linear_times import LinearTimes, Timed

CONFIG = {
    "d_model": 64, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 256,
}  # fmt: skip
ENCODER = Group("encoder.layers.0.fc1", 64, 128, once=True)
DECODER = Group("decoder.layers.0.fc1", 64, 256, once=False)


def timed(group, scheme, rows, seconds):
    return Timed(group.shape, scheme, rows, seconds, 0.0, "Kernel")


LINEAR = LinearTimes(
    [
        timed(ENCODER, "none", WINDOW_ROWS, 0.030), timed(ENCODER, "W8A8", WINDOW_ROWS, 0.010),
        timed(DECODER, "none", 1, 0.002), timed(DECODER, "W8A8", 1, 0.001),
        timed(DECODER, "none", 16, 0.008), timed(DECODER, "W8A8", 16, 0.004),
    ]
)  # fmt: skip
COST = Cost([ENCODER, DECODER], LINEAR, EngineTimes(0.1, {1: 0.005, 16: 0.020}), tokens=20)
PLAIN = {ENCODER.name: "none", DECODER.name: "none"}
EIGHT = {ENCODER.name: "W8A8", DECODER.name: "W8A8"}


def test_an_unquantized_clip_takes_what_the_engine_took():
    assert COST.clip_seconds(PLAIN, 1) == pytest.approx(0.1 + 20 * 0.005)
    assert COST.clip_seconds(PLAIN, 16) == pytest.approx(0.1 + 20 * 0.020 / 16)


def test_a_quantized_clip_differs_by_its_layers():
    assert COST.clip_seconds(EIGHT, 1) == pytest.approx(0.08 + 20 * 0.004)
    times = COST.engine_times(EIGHT)
    assert times.encoder == pytest.approx(0.08)
    assert times.step == pytest.approx({1: 0.004, 16: 0.016})


def test_a_scheme_decides_what_the_encoder_attends_by_too():
    qkv = Group("encoder.layers.0.self_attn.qkv", 64, 192, once=True)
    attention = [
        Timed((64, 0), scheme, WINDOW_ROWS, seconds, 0.0, "Kernel")
        for scheme, seconds in (("none", 0.020), ("W8A8", 0.012))
    ]
    layers = [timed(qkv, "none", WINDOW_ROWS, 0.030), timed(qkv, "W8A8", WINDOW_ROWS, 0.010)]
    cost = Cost([qkv], LinearTimes(layers + attention), EngineTimes(0.1, {1: 0.005}), tokens=0)
    assert cost.engine_times({qkv.name: "W8A8"}).encoder == pytest.approx(0.1 - 0.020 - 0.008)
    assert cost.clip_seconds({qkv.name: "none"}, 1) == pytest.approx(0.1)


def test_a_decoders_weights_are_read_for_all_windows_at_once():
    alone, shared = (COST.group_seconds(DECODER, "W8A8", n) for n in (1, 16))
    assert alone == pytest.approx(20 * 0.001)
    assert shared == pytest.approx(20 * 0.004 / 16)


def test_keys_and_values_of_cross_attention_are_made_once_a_window():
    once = {group.name for group in groups_of(CONFIG) if group.once}
    assert once == {
        "encoder.layers.0.self_attn.qkv", "encoder.layers.0.self_attn.out",
        "encoder.layers.0.fc1", "encoder.layers.0.fc2",
        "decoder.layers.0.encoder_attn.kv", "decoder.layers.1.encoder_attn.kv",
    }  # fmt: skip


def test_a_groups_bytes_are_its_weights_and_scales():
    group = Group("decoder.layers.0.fc2", 256, 64, once=False)
    assert group.bytes("none") == 2 * 256 * 64
    assert group.bytes("W8A8") == 256 * 64 + 2 * 64
    assert group.bytes("W4A16 g32") == 256 * 64 // 2 + 2 * 256 * 64 // 32


def test_groups_of_weights_that_do_not_divide_the_inputs_are_no_option():
    group = Group("decoder.layers.0.fc2", 96, 64, once=False)
    assert [group.takes(one) for one in ("none", "W8A8", "W4A16 g32", "W4A16 g128")] == [
        True, True, True, False,
    ]  # fmt: skip
