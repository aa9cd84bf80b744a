"""What a recipe asks for is what is made. Run as a module, this is the overlay's side of it: all
checkpoints are made in one process, because loading llm-compressor takes longer than they do."""

import gc
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file

from app.checkpoints.fused_groups import group_of, layer_schemes
from app.checkpoints.recipe import Recipe
from app.errors import BadRecipe
from app.models.whisper_vllm.encoder_vectors import gains
from app.quantization.quantizer_process import Quantizer
from app.recordings.spec import Recordings
from app.settings import Settings
from harness.server import DEMO, Server
from tests.engine.conftest import KERNELS, MAYDAY, MAYDAY_WORDS, RECORDINGS

SOURCE = DEMO / "marine-radio"
HEARD = {"sources": str(RECORDINGS / "calibration"), "samples": 4}
CONFIG = json.loads((SOURCE / "config.json").read_text("utf-8"))
LINEARS = 38
EMBEDDING = "model.decoder.embed_tokens.weight"
LAYERS = ["encoder.0", "encoder.1", "encoder.2", "decoder.0", "decoder.1"]

GPTQ = Recipe(group_size=64, calibration=HEARD)
EIGHT = {"encoder.attention": "W8A8", "encoder.mlp": "W8A8"}
# Of whatever vLLM fuses, something; and a fused group whose neighbours have other schemes.
MIXED_LAYERS = {
    "decoder.layers.0.*": "W4A16 g32",
    "*.encoder_attn.kv": "W8A8",
    "encoder.layers.2.self_attn.*": "none",
    "decoder.layers.1.fc1": "W8A8",
}
BY_LAYER = {"group_size": 64, "components": {"encoder.mlp": "W8A8"}, "layers": MIXED_LAYERS}
LAYERED = {
    "layered-rtn": Recipe(method="rtn", **BY_LAYER),
    "layered-gptq": Recipe(calibration=HEARD, **BY_LAYER),
    "layered-imatrix": Recipe(observer="imatrix", calibration=HEARD, **BY_LAYER),
    # A projection left alone behind values that are not: nothing to smooth them for.
    "layered-awq": Recipe(
        method="awq",
        calibration=HEARD,
        **BY_LAYER | {"layers": MIXED_LAYERS | {"decoder.layers.1.self_attn.out": "none"}},
    ),
    "layered-autoround": Recipe(method="autoround", calibration=HEARD | {"samples": 2}, **BY_LAYER),
}
RECIPES = {
    "gptq": GPTQ,
    "emulated": GPTQ.model_copy(update={"emulate": True}),
    "imatrix": GPTQ.model_copy(update={"observer": "imatrix"}),
    "undamped": GPTQ.model_copy(update={"dampening": 1e-12}),
    "small": Recipe(group_size=32, components=EIGHT, calibration=HEARD),
    "small-rounded": Recipe(method="rtn", group_size=32, components=EIGHT),
    "low": Recipe(
        method="rtn",
        scheme="W2A16",
        group_size=32,
        components={"decoder.mlp": "W3A16", "embedding": "W3A16"},
        dtype="float16",
        emulate=True,
    ),
    "eight": Recipe(method="rtn", scheme="W8A8", components={"embedding": "W8A8"}),
    "channel": Recipe(method="rtn", scheme="W8A16", group_size="channel"),
    "mixed": Recipe(
        method="awq",
        components={"encoder.attention": "W8A8", "encoder.mlp": "W8A8", "decoder.mlp": "none"},
        calibration=HEARD,
    ),
    "autoround": Recipe(
        method="autoround",
        group_size=32,
        components={"encoder.mlp": "none", "decoder.mlp": "W8A8"},
        calibration=HEARD | {"samples": 2},
    ),
    **LAYERED,
    "half-emulated": Recipe(method="rtn", scheme="W8A8", emulate=True),
    "embedded": Recipe(method="rtn", components={"embedding": "W8A16"}),
    "uncalibrated": Recipe(),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder all are made in, each under its name."""
    folder = tmp_path_factory.mktemp("made")
    child = subprocess.run(
        [settings.quantizer_python, "-m", "tests.engine.test_methods", str(folder)],
        env=quantizer._environment(),
        cwd=DEMO.parent,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return folder


settings = Settings()
quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)


def weights(folder):
    return load_file(folder / "model.safetensors")


def quantization(folder):
    return json.loads((folder / "config.json").read_text("utf-8")).get("quantization_config")


def said(made, name):
    return json.loads((made / name / "said.json").read_text("utf-8"))


def unpacked(tensors, module):
    """A Linear's weights from 4-bit words, eight to each, lowest first, -8 as 0."""
    packed, scale = tensors[f"{module}.weight_packed"], tensors[f"{module}.weight_scale"]
    signed = ((packed[..., None] >> torch.arange(0, 32, 4)) & 15).flatten(1) - 8
    return (signed.unflatten(1, (scale.shape[1], -1)).to(scale.dtype) * scale[..., None]).flatten(1)


def most_values(weight, group):
    """How many different weights the fullest group holds."""
    grouped = weight.unflatten(1, (-1, group)).flatten(0, 1).sort(dim=1).values
    return int((grouped.diff(dim=1) != 0).sum(dim=1).max()) + 1


def test_gptq_writes_what_the_recipe_says_and_leaves_the_rest_as_it_was(made):
    group = quantization(made / "gptq")["config_groups"]["group_0"]
    assert group["targets"] == ["Linear"]
    assert group["input_activations"] is None
    told = {name: group["weights"][name] for name in ("num_bits", "group_size", "actorder")}
    assert told == {"num_bits": 4, "group_size": 64, "actorder": "static"}
    tensors, source = weights(made / "gptq"), weights(SOURCE)
    assert sum(name.endswith(".weight_packed") for name in tensors) == LINEARS
    rounded = {name.removesuffix("_packed") for name in tensors}
    untouched = [name for name in source if name not in rounded or name in tensors]
    assert EMBEDDING in untouched
    assert all(torch.equal(tensors[n], source[n]) for n in untouched if "k_proj" not in n)
    assert not tensors["model.encoder.layers.0.self_attn.k_proj.bias"].any()
    figures = said(made, "gptq")
    assert figures["quantized"] == {"W4A16": LINEARS}
    assert list(figures["losses"]) == LAYERS
    assert figures["rounded_to_nearest"] == []


def test_four_bits_are_learned_beside_an_encoder_that_is_rounded_to_eight(made):
    """Their scales are the source's: looked for once more, in learned weights, they would be
    others, and what was learned lost."""
    learned, rounded = weights(made / "small"), weights(made / "small-rounded")
    assert learned.keys() == rounded.keys()
    differing = {name for name in learned if not torch.equal(learned[name], rounded[name])}
    assert differing
    assert all(n.startswith("model.decoder") and n.endswith("_packed") for n in differing)
    assert list(said(made, "small")["losses"]) == ["decoder.0", "decoder.1"]
    assert said(made, "small")["quantized"] == {"W8A8": 18, "W4A16": 20}


def test_emulated_weights_are_the_dequantized_ones_of_the_same_recipe(made):
    assert quantization(made / "emulated") is None
    packed, dense, source = weights(made / "gptq"), weights(made / "emulated"), weights(SOURCE)
    assert dense.keys() | {"proj_out.weight"} >= source.keys()
    modules = [n.removesuffix(".weight_packed") for n in packed if n.endswith(".weight_packed")]
    for module in modules:
        assert torch.equal(unpacked(packed, module), dense[f"{module}.weight"]), module
        assert not torch.equal(dense[f"{module}.weight"], source[f"{module}.weight"])


def test_weights_lie_on_the_grid_of_their_bits_the_embedding_too_where_it_is_asked_for(made):
    tensors, source = weights(made / "low"), weights(SOURCE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert "proj_out.weight" not in tensors  # still tied
    for name, values in (
        ("model.encoder.layers.2.fc2.weight", 4),
        ("model.decoder.layers.0.encoder_attn.k_proj.weight", 4),
        ("model.decoder.layers.1.fc1.weight", 8),
        (EMBEDDING, 8),
    ):
        assert most_values(tensors[name], 32) <= values < most_values(source[name], 32)
    assert said(made, "low")["quantized"] == {"W2A16": LINEARS - 4, "W3A16": 5}


def test_an_embedding_in_eight_bits_is_written_as_integers_and_a_scale_a_row(made):
    tensors, source = weights(made / "eight"), weights(SOURCE)[EMBEDDING].float()
    codes, scales = tensors[EMBEDDING], tensors[f"{EMBEDDING}_scale"].float()
    smoothing = tensors[EMBEDDING.replace(".weight", ".smoothing")].float()
    assert (codes.dtype, scales.shape) == (torch.int8, (len(source), 1))
    assert int(codes.abs().amax()) >= 127
    # Half a step, and what the largest of a row is cut by where its scale is rounded.
    assert ((codes * scales - source * smoothing).abs() <= scales * 1.1).all()
    assert json.loads((made / "eight" / "config.json").read_text())["embedding_scheme"] == "W8A8"
    assert said(made, "eight")["quantized"] == {"W8A8": LINEARS + 1}


def test_an_embedding_in_eight_bits_serves_and_its_projection_has_the_kernel_of_the_others(
    made, tmp_path
):
    with Server(cache_dir=tmp_path, model=made / "eight") as server:
        assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
        model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    kernels = model["marlinscribe"]["kernels"]
    attention = kernels.pop("EightBitScores", 0)
    assert attention == (CONFIG["encoder_layers"] if gains() else 0)
    ((kernel, count),) = kernels.items()
    assert "Int8" in kernel
    assert count == len(layer_schemes(RECIPES["eight"], CONFIG)) + 1


def test_a_comparison_reads_an_embedding_in_eight_bits_as_what_it_means(made):
    found = quantizer.compare(SOURCE, made / "eight", Recordings(**HEARD), lambda _: None)
    assert abs(found["overall"]["nll_difference"]["value"]) < 0.02
    assert found["overall"]["token_agreement"]["value"] > 0.97


def test_a_row_can_share_a_scale(made):
    group = quantization(made / "channel")["config_groups"]["group_0"]
    assert (group["weights"]["strategy"], group["weights"]["num_bits"]) == ("channel", 8)
    assert weights(made / "channel")["model.decoder.layers.0.fc2.weight_scale"].shape == (256, 1)


def test_importance_from_calibration_finds_better_scales(made):
    weighed = quantization(made / "imatrix")["config_groups"]["group_0"]["weights"]
    assert weighed["observer"] == "imatrix_mse"
    assert weighed["observer_kwargs"] == {"strict": True}  # without importance it would raise
    losses = said(made, "imatrix")["losses"]
    assert all(losses[layer] < loss for layer, loss in said(made, "gptq")["losses"].items())


def test_modules_that_gptq_gave_up_on_are_named(made):
    """Four clips' words do not span a decoder's 1024 inputs, and nothing is added to them."""
    assert "model.decoder.layers.0.fc2" in said(made, "undamped")["rounded_to_nearest"]


def test_components_have_schemes_of_their_own_by_names_that_vllm_matches_too(made):
    groups = list(quantization(made / "mixed")["config_groups"].values())
    assert [g["format"] for g in groups] == ["int-quantized", "pack-quantized"]
    tokens = groups[0]["input_activations"]
    assert (tokens["strategy"], tokens["dynamic"], tokens["symmetric"]) == ("token", True, True)
    assert groups[0]["weights"]["strategy"] == "channel"

    def schemes(module):
        targets = [[t.removeprefix("re:") for t in group["targets"]] for group in groups]
        return [n for n, ts in enumerate(targets) if any(re.match(t, module) for t in ts)]

    for stack, number in (("encoder", [0]), ("decoder", [1])):
        assert schemes(f"model.{stack}.layers.1.self_attn.q_proj") == number
        assert schemes(f".{stack}.layers.1.layers.self_attn.q_proj") == number
    assert schemes("model.encoder.layers.0.fc1") == schemes(".encoder.layers.0.layers.mlp.fc1")
    assert schemes("model.encoder.layers.0.fc1") == [0]
    assert schemes("model.decoder.layers.0.fc1") == []
    tensors = weights(made / "mixed")
    assert tensors["model.encoder.layers.0.fc1.weight"].dtype == torch.int8
    assert tensors["model.decoder.layers.0.fc1.weight"].dtype == torch.bfloat16
    assert said(made, "mixed")["quantized"] == {"W8A8": 18, "W4A16": 16}
    assert said(made, "mixed")["losses"].keys() == set(LAYERS)


@pytest.mark.parametrize("name", LAYERED)
def test_layers_have_schemes_of_their_own_whatever_the_method(made, name):
    tensors, source = weights(made / name), weights(SOURCE)
    schemes = layer_schemes(RECIPES[name], CONFIG)
    assert said(made, name)["schemes"] == {group: str(one) for group, one in schemes.items()}
    assert {str(one) for one in schemes.values()} == {"W8A8", "W4A16 g64", "W4A16 g32", "none"}
    for linear in (n.removesuffix(".weight") for n in source if "_proj.weight" in n or "fc" in n):
        if linear.endswith(".bias") or linear == "proj_out":
            continue
        one, width = schemes[group_of(linear)], source[f"{linear}.weight"].shape[1]
        if one.scheme == "W4A16":
            assert tensors[f"{linear}.weight_scale"].shape[1] == width // one.group_size, linear
            assert f"{linear}.weight_packed" in tensors
        elif one.scheme == "W8A8":
            assert tensors[f"{linear}.weight"].dtype == torch.int8, linear
        else:
            assert torch.equal(tensors[f"{linear}.weight"], source[f"{linear}.weight"]), linear


def test_layers_are_served_by_the_kernels_of_their_own_schemes(made, tmp_path):
    groups = Counter(one.scheme for one in layer_schemes(LAYERED["layered-gptq"], CONFIG).values())
    assert groups == {"W4A16": 15, "W8A8": 9, "none": 2}
    with Server(cache_dir=tmp_path, model=made / "layered-gptq") as server:
        assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
        model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    kernels = Counter(model["marlinscribe"]["kernels"])
    for other in ("UnquantizedEmbeddingMethod", "EightBitScores"):  # projection, attention
        kernels.pop(other, None)
    assert kernels.pop("UnquantizedLinearMethod") == groups["none"]
    eight = {name for name in kernels if "Int8" in name}
    assert sum(kernels[name] for name in eight) == groups["W8A8"]
    assert sum(count for name, count in kernels.items() if name not in eight) == groups["W4A16"]


def test_a_compressed_checkpoint_of_mixed_schemes_is_served_as_it_is(made, tmp_path):
    with Server(cache_dir=tmp_path, model=made / "mixed") as server:
        assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
        model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    assert model["id"] == "mixed"
    assert KERNELS & model["marlinscribe"]["kernels"].keys()
    assert not (tmp_path / "checkpoints").exists()


def test_autoround_tunes_both_stacks(made):
    figures = said(made, "autoround")
    assert figures["quantized"] == {"W4A16": 28, "W8A8": 4}
    assert list(figures["losses"]) == LAYERS
    tensors, source = weights(made / "autoround"), weights(SOURCE)
    name = "model.decoder.layers.1.encoder_attn.k_proj"
    error = (unpacked(tensors, name) - source[f"{name}.weight"]).norm()
    assert 0.01 < error / source[f"{name}.weight"].norm() < 0.2
    assert tensors["model.decoder.layers.0.fc1.weight"].dtype == torch.int8


@pytest.mark.parametrize(("name", "alone"), [("autoround", "encoder"), ("mixed", "decoder")])
def test_components_left_alone_keep_their_weights(made, name, alone):
    tensors, source = weights(made / name), weights(SOURCE)
    kept = [n for n in source if re.match(rf"model\.{alone}\.layers\.\d\.fc[12]\.weight", n)]
    assert len(kept) in (4, 6)
    assert all(torch.equal(tensors[n], source[n]) for n in kept)


def test_autoround_fills_short_texts_up_with_copies_that_a_layer_treats_as_originals(made):
    assert said(made, "filled")["difference"] < 1e-5


def test_smoothing_changes_weights_and_not_the_model(made):
    smoothed = said(made, "smoothing")
    assert smoothed["difference"] < 1e-5
    names = [name.removeprefix("model.") for name in smoothed["changed"]]
    # In each stack: where no scale is the best one, a layer is left as it is, and that differs from
    # processor to processor.
    for stack in ("encoder", "decoder"):
        assert any(wholly_smoothed(f"{stack}.layers.{number}", names) for number in (0, 1))
    assert any(name.startswith("decoder") and "encoder_attn.v_proj.bias" in name for name in names)
    assert any("fc1.weight" in name for name in names)
    # Behind GELU, and behind the norm that all decoder layers share.
    assert not any("fc2" in name or "encoder_attn.k_proj" in name for name in names)
    assert not any(name.startswith("encoder.layer_norm") for name in names)


def wholly_smoothed(layer, names):
    scaled = {f"{layer}.self_attn.{tensor}.weight" for tensor in ("q_proj", "v_proj")}
    norm = {f"{layer}.self_attn_layer_norm.{part}" for part in ("weight", "bias")}
    return scaled | norm <= set(names)


def test_smoothing_across_gelu_would_change_the_model(made):
    """The measure can fail."""
    assert said(made, "across-gelu")["difference"] > 1e-3


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("half-emulated", "BadRecipe", "activations"),
        ("embedded", "BadRecipe", "embedding"),
        ("uncalibrated", "NoCalibration", "recordings"),
    ],
)
def test_what_cannot_be_made_is_refused(made, name, error, why):
    assert said(made, name)["error"] == error
    assert why in said(made, name)["message"]


def test_a_refusal_reaches_whoever_asked(tmp_path):
    with pytest.raises(BadRecipe, match="activations"):
        quantizer.make(SOURCE, tmp_path, RECIPES["half-emulated"], print)


@pytest.mark.slow
def test_layers_are_told_with_their_losses(tmp_path):
    told = []
    figures = quantizer.make(SOURCE, tmp_path, GPTQ, told.append)
    assert [(p.done, p.total) for p in told] == [(n, 5) for n in range(6)]
    assert [p.loss for p in told] == [None, *figures["losses"].values()]
    assert [p.layer for p in told] == [None, *LAYERS]


@pytest.mark.slow
def test_progress_goes_on_from_the_encoder_to_the_decoder(tmp_path):
    told = []
    quantizer.make(SOURCE, tmp_path, RECIPES["small"], told.append)
    assert [p.done for p in told] == [0, 1, 3, 4, 5]  # its four clips share two windows
    assert {p.total for p in told} == {5}
    assert [p.layer for p in told if p.layer] == ["decoder.0", "decoder.1"]


def make_all(folder):
    """In the overlay."""
    from functools import partial

    from app.errors import StartupError
    from app.quantizer import make, methods
    from app.quantizer.awq import whisper_awq
    from app.quantizer.child_protocol import Reporter

    def recipes_awq(given):
        methods.whisper_awq = given

    gc.freeze()  # auto_round collects garbage again and again, mostly among loaded modules
    methods.apply = partial(methods.apply, steps=2)  # AutoRound's
    recipes_awq(partial(_quickly, whisper_awq))
    with open("/dev/null", "w") as nowhere:
        report = Reporter(nowhere)
        for name, recipe in RECIPES.items():
            out = folder / name
            out.mkdir()
            job = make.Job(folder=SOURCE, out=out, recipe=recipe)
            try:
                figures = make.quantize(job, report)
            except StartupError as error:
                figures = {"error": type(error).__name__, "message": str(error)}
            (out / "said.json").write_text(json.dumps(figures))
        for name, more in (("smoothing", []), ("across-gelu", ["fc1", "fc2"])):
            (folder / name).mkdir()
            recipes_awq(partial(_quickly, whisper_awq, more))
            (folder / name / "said.json").write_text(json.dumps(_smoothed(report)))
    (folder / "filled").mkdir()
    (folder / "filled" / "said.json").write_text(json.dumps(_filled()))


def _quickly(whisper_awq, more=()):
    """AWQ with few candidates, and perhaps with one pair more, smoothed and balanced."""
    from llmcompressor.modifiers.transform.awq import AWQMapping

    awq = whisper_awq()
    awq.n_grid = 4
    if more:
        smooth, balance = (rf"re:.*layers\.\d+\.{name}$" for name in more)
        awq.mappings.append(AWQMapping(smooth, [balance]))
    return awq


def _smoothed(report):
    """How far a float32 model is from itself when it is smoothed and not yet rounded, relative to
    its largest logit, and which of its tensors changed."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from app.quantizer import methods
    from app.quantizer.features import batch, spoken

    recipe = Recipe(method="awq", calibration=HEARD | {"samples": 2})
    model = WhisperForConditionalGeneration.from_pretrained(SOURCE, dtype=torch.float32).eval()
    heard = [one.inputs for one in spoken(SOURCE, recipe.calibration, torch.float32)]
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}

    def logits():
        with torch.no_grad():
            return torch.cat([model(**batch([one])).logits[0] for one in heard])

    expected = logits()
    methods.apply(model, recipe, heard, WhisperProcessor.from_pretrained(SOURCE), report)
    for module in model.modules():
        module.quantization_enabled = False
    after = dict(model.named_parameters())
    return {
        "difference": float((logits() - expected).abs().max() / expected.abs().max()),
        "changed": [
            name for name, tensor in before.items() if not torch.equal(tensor, after[name])
        ],
    }


def _filled():
    """How far a layer's outputs for filled up texts are from the originals', over and over."""
    from transformers import WhisperForConditionalGeneration

    from app.quantizer.autoround import WhisperAutoRound

    model = WhisperForConditionalGeneration.from_pretrained(
        SOURCE, dtype=torch.float32, attn_implementation="eager"
    )
    layer = model.model.decoder.layers[0]
    inputs = []
    for tokens in (5, 12, 9):
        unseen = torch.full((1, 1, tokens, tokens), torch.finfo(torch.float32).min).triu(1)
        named = {"attention_mask": unseen, "encoder_hidden_states": torch.randn(1, 1500, 256)}
        inputs.append(((torch.randn(1, tokens, 256),), named))
    filled, _ = WhisperAutoRound._pad_captured_inputs(None, inputs)
    furthest = 0.0
    for (original, named), (longer, more) in zip(inputs, filled, strict=True):
        with torch.no_grad():
            expected, given = layer(*original, **named), layer(*longer, **more)
        expected = expected[:, torch.arange(12) % expected.shape[1]]
        furthest = max(furthest, float((given - expected).abs().max() / expected.abs().max()))
    return {"difference": furthest}


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
