"""A scheme is given to what vLLM holds as one linear, by patterns of its name."""

import pytest

from app.checkpoints.fused_groups import (
    component_of,
    fused_groups,
    group_of,
    layer_schemes,
    misnamed,
    without_effect,
)
from app.checkpoints.recipe import Recipe

WHISPER = {
    "d_model": 64,
    "encoder_layers": 12,
    "encoder_ffn_dim": 256,
    "decoder_layers": 3,
    "decoder_ffn_dim": 128,
}


def schemes(**recipe):
    return {group: str(one) for group, one in layer_schemes(Recipe(**recipe), WHISPER).items()}


def having(scheme, **recipe):
    return [group for group, one in schemes(**recipe).items() if one == scheme]


def test_a_layers_groups_have_the_widths_of_what_is_fused():
    groups = fused_groups(WHISPER)
    assert len(groups) == 12 * 4 + 3 * 7
    assert {name: groups[f"decoder.layers.2.{name}"] for name in
            ("self_attn.qkv", "self_attn.out", "encoder_attn.q", "encoder_attn.kv",
             "encoder_attn.out", "fc1", "fc2")} == {
        "self_attn.qkv": (64, 192), "self_attn.out": (64, 64), "encoder_attn.q": (64, 64),
        "encoder_attn.kv": (64, 128), "encoder_attn.out": (64, 64), "fc1": (64, 128),
        "fc2": (128, 64),
    }  # fmt: skip
    assert groups["encoder.layers.11.fc1"] == (64, 256)
    assert "encoder.layers.0.encoder_attn.q" not in groups


def test_linears_of_a_checkpoint_lie_in_their_groups():
    assert group_of("model.decoder.layers.10.encoder_attn.v_proj") == (
        "decoder.layers.10.encoder_attn.kv"
    )
    assert group_of("encoder.layers.1.self_attn.k_proj") == "encoder.layers.1.self_attn.qkv"
    assert group_of("model.decoder.layers.0.fc2") == "decoder.layers.0.fc2"


def test_groups_lie_in_their_components():
    assert component_of("encoder.layers.0.self_attn.out") == "encoder.attention"
    assert component_of("decoder.layers.0.self_attn.qkv") == "decoder.self_attention"
    assert component_of("decoder.layers.0.encoder_attn.kv") == "decoder.cross_attention"
    assert component_of("decoder.layers.0.fc2") == "decoder.mlp"


def test_a_pattern_of_one_layer_does_not_reach_another_that_begins_alike():
    assert having("W8A8", layers={"encoder.layers.1.fc2": "W8A8"}) == ["encoder.layers.1.fc2"]
    assert len(having("W8A8", layers={"encoder.layers.1*": "W8A8"})) == 3 * 4  # 1, 10, 11


def test_later_patterns_win_and_layers_over_components():
    found = schemes(
        components={"decoder.mlp": "none"},
        layers={"decoder.*": "W4A16 g32", "decoder.layers.[0-1].fc1": "W8A8"},
    )
    assert found["decoder.layers.0.fc1"] == found["decoder.layers.1.fc1"] == "W8A8"
    assert found["decoder.layers.0.fc2"] == found["decoder.layers.2.fc1"] == "W4A16 g32"
    assert found["encoder.layers.0.fc1"] == "W4A16 g128"


def test_a_component_may_have_a_group_size_of_its_own():
    found = schemes(components={"decoder.mlp": "W4A16 g32", "encoder.mlp": "W4A16 channel"})
    assert found["decoder.layers.0.fc1"] == "W4A16 g32"
    assert found["encoder.layers.0.fc1"] == "W4A16 channel"
    assert found["decoder.layers.0.self_attn.out"] == "W4A16 g128"


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"decoder.layers.[3-9].*": "W8A8"},
         'layers "decoder.layers.[3-9].*" matches nothing. There are encoder.layers.0 to 11, each '
         "with self_attn.qkv, self_attn.out, fc1, fc2; and decoder.layers.0 to 2, each with"),
        ({"decoder.layers.0.self_attn.q_proj": "W8A8"},
         "There is decoder.layers.0.self_attn.qkv and"),
        ({"model.encoder.layers.1.fc1": "W8A8"}, "There is encoder.layers.1.fc1 and"),
        ({"decoder.layers.0.*": "W8A8", "decoder.*": "W4A16 g32"},
         'layers "decoder.layers.0.*" has no effect'),
    ],
)  # fmt: skip
def test_a_pattern_that_decides_nothing_is_refused(layers, why):
    assert why in misnamed(Recipe(layers=layers), WHISPER)


def test_a_component_that_layers_leave_nothing_of_is_refused():
    recipe = Recipe(
        components={"encoder.mlp": "W8A8", "decoder.mlp": "W8A8", "embedding": "W8A16"},
        layers={"encoder.*": "W4A16", "decoder.layers.0.*": "none"},
    )
    assert without_effect(recipe, WHISPER) == ["encoder.mlp"]
    assert misnamed(recipe, WHISPER) == (
        "components encoder.mlp has no effect: layers decide all of it"
    )


def test_layers_that_fit_are_not_refused():
    recipe = Recipe(components={"encoder.mlp": "W8A8"}, layers={"*.layers.0.*": "W4A16"})
    assert misnamed(recipe, WHISPER) is None
