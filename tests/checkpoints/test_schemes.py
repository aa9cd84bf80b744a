"""What a device serves is known before hours are spent."""

import pytest

from app.checkpoints.recipe import Recipe
from app.checkpoints.schemes import SERVED, refusal

SCHEMES = ["W4A16", "W8A16", "W8A8", "W3A16", "W2A16"]
LAYERS = {"encoder_layers": 2, "decoder_layers": 2}
WHISPER = {"d_model": 384, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536} | LAYERS


def shape(d_model, encoder_ffn, decoder_ffn):
    widths = {"encoder_ffn_dim": encoder_ffn, "decoder_ffn_dim": decoder_ffn}
    return {"d_model": d_model} | widths | LAYERS


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_scheme_is_made_where_it_is_served(scheme, device):
    served = {"cpu": {"W4A16", "W8A8"}, "cuda": {"W4A16", "W8A16", "W8A8"}}[device]
    why = refusal(Recipe(scheme=scheme), WHISPER, device)
    assert (why is None) == (scheme in served) == (scheme in SERVED[device])
    if why:
        assert f"no kernel for {scheme}" in why
        assert "emulate" in why
        assert all(name in why for name in served)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_components_scheme_counts_too(device):
    recipe = Recipe(components={"encoder.mlp": "W2A16"})
    assert "W2A16" in refusal(recipe, WHISPER, device)
    assert refusal(Recipe(components={"encoder.mlp": "none"}), WHISPER, device) is None


def test_the_general_scheme_does_not_count_where_nothing_has_it():
    own = {
        "encoder.attention": "W4A16",
        "encoder.mlp": "W4A16",
        "decoder.self_attention": "W4A16",
        "decoder.cross_attention": "none",
        "decoder.mlp": "W4A16",
    }
    assert refusal(Recipe(scheme="W2A16", components=own), WHISPER, "cpu") is None


@pytest.mark.parametrize(
    ("scheme", "device", "why"),
    [("W4A16", "cpu", "served in W8A8"), ("W4A16", "cuda", "served in W8A8"),
     ("W8A8", "cuda", "never served on this device"), ("W8A8", "cpu", None)],
)  # fmt: skip
def test_an_embedding_is_served_in_eight_bits_on_a_processor(scheme, device, why):
    found = refusal(Recipe(components={"embedding": scheme}), WHISPER, device)
    assert found is None if why is None else why in found


def test_an_embedding_alone_is_not_served():
    recipe = Recipe(layers={"*": "none"}, components={"embedding": "W8A8"})
    assert "nothing but the embedding" in refusal(recipe, WHISPER, "cpu")


@pytest.mark.parametrize(
    ("widths", "group", "width"),
    [((384, 1536, 1536), 128, None), ((320, 1280, 1280), 128, 320), ((320, 1280, 1280), 64, None),
     ((384, 1000, 1536), 64, 1000), ((384, 1536, 1000), 64, 1000),
     ((320, 1280, 1280), "channel", None)],
)  # fmt: skip
def test_groups_divide_every_width(widths, group, width):
    why = refusal(Recipe(group_size=group), shape(*widths), "cuda")
    assert (why is None) == (width is None)
    if width:
        assert f"groups of {group} do not divide a width of {width}" in why


def test_groups_divide_also_where_the_weights_are_only_emulated():
    recipe = Recipe(scheme="W3A16", emulate=True)
    assert "do not divide" in refusal(recipe, shape(320, 1280, 1280), "cpu")


def test_groups_do_not_matter_to_a_scheme_without_them():
    recipe = Recipe(scheme="W8A8", group_size=128)
    assert refusal(recipe, shape(320, 1280, 1280), "cpu") is None


def test_the_cpus_kernel_takes_multiples_of_32():
    recipe = Recipe(group_size="channel")
    assert "multiples of 32" in refusal(recipe, shape(100, 400, 400), "cpu")
    assert refusal(recipe, shape(100, 400, 400), "cuda") is None
    assert refusal(Recipe(scheme="W8A8", group_size="channel"), shape(100, 400, 400), "cpu") is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("scheme", ["W4A16", "W8A16", "W3A16", "W2A16"])
def test_what_is_emulated_needs_no_kernel(scheme, device):
    recipe = Recipe(scheme=scheme, emulate=True, components={"embedding": "W8A16"})
    assert refusal(recipe, WHISPER, device) is None


def test_weights_cannot_emulate_rounded_activations():
    assert "activations" in refusal(Recipe(scheme="W8A8", emulate=True), WHISPER, "cpu")
    recipe = Recipe(emulate=True, components={"encoder.mlp": "W8A8"})
    assert "activations" in refusal(recipe, WHISPER, "cpu")


# By layer


@pytest.mark.parametrize(
    ("recipe", "device", "why"),
    [
        ({"layers": {"decoder.layers.1.fc?": "W8A16"}}, "cpu",
         'no kernel for W8A16 on this device (cpu), which runs W4A16, W8A8 (decoder.layers.1.fc1, '
         'by layers "decoder.layers.1.fc?")'),
        ({"layers": {"*.fc1": "W3A16 g32"}}, "cuda", "no kernel for W3A16"),
        ({"components": {"decoder.mlp": "W2A16 g32"}}, "cuda",
         "(decoder.layers.0.fc1, by decoder.mlp)"),
        ({"layers": {"*": "none"}}, "cpu", "nothing would be quantized"),
        ({"layers": {"*.fc2": "W8A8"}, "emulate": True}, "cpu", "cannot emulate"),
        ({"layers": {"decoder.layers.[2-9].*": "W8A8"}}, "cpu", "matches nothing"),
    ],
)  # fmt: skip
def test_a_layers_scheme_counts_and_what_gives_it_is_named(recipe, device, why):
    assert why in refusal(Recipe(**recipe), WHISPER, device)


def test_the_general_scheme_does_not_count_where_layers_leave_it_nothing():
    assert refusal(Recipe(scheme="W2A16", layers={"*": "W4A16"}), WHISPER, "cpu") is None
    rest = {"*": "none", "decoder.layers.0.fc1": "W8A8"}
    assert refusal(Recipe(scheme="W2A16", layers=rest), WHISPER, "cpu") is None


def test_a_group_size_divides_where_it_is_used():
    narrow = shape(320, 1280, 1280)
    wide = {"*": "W8A8", "*.fc2": "W4A16 g128"}
    assert refusal(Recipe(group_size=128, layers=wide), narrow, "cpu") is None
    why = refusal(Recipe(group_size=64, layers={"decoder.*.out": "W4A16 g128"}), narrow, "cpu")
    assert "groups of 128 do not divide a width of 320" in why
    assert '(decoder.layers.0.self_attn.out, by layers "decoder.*.out")' in why
    why = refusal(Recipe(components={"decoder.mlp": "W4A16 g128"}, group_size=64), narrow, "cpu")
    assert "width of 320 (decoder.layers.0.fc1, by decoder.mlp)" in why


def test_the_embeddings_groups_divide_its_width():
    recipe = Recipe(scheme="W8A16", group_size="channel", emulate=True,
                    components={"embedding": "W8A16 g128"})  # fmt: skip
    assert "groups of 128 do not divide a width of 320" in refusal(
        recipe, shape(320, 1280, 1280), "cpu"
    )
