"""A candidate against its source: every figure is computed here once more, by other means."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from app.checkpoints.recipe import Recipe
from app.errors import QuantizerFailed
from app.process import has_half_precision
from app.quantization.quantizer_process import Quantizer
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.settings import Settings
from harness.server import DEMO
from tests.engine.conftest import RECORDINGS

SOURCE = DEMO / "marine-radio"
# What the comparison computes in.
DTYPE = torch.bfloat16 if has_half_precision() else torch.float32
LAYERS = ["encoder.0", "encoder.1", "encoder.2", "decoder.0", "decoder.1"]


def clips(number=4):
    return Recordings(sources=str(RECORDINGS / "test"), samples=number)


@pytest.fixture(scope="module")
def quantizer():
    settings = Settings()
    return Quantizer(settings.quantizer_python, settings.quantizer_overlay)


def compare(quantizer, candidate, recordings=None, on_progress=lambda _: None):
    return quantizer.compare(SOURCE, candidate, recordings or clips(), on_progress)


@pytest.fixture(scope="module")
def rounded(quantizer, tmp_path_factory):
    """W4A16 as the service makes it, and its figures."""
    folder = tmp_path_factory.mktemp("rtn")
    quantizer.make(SOURCE, folder, Recipe(method="rtn"), lambda _: None)
    return folder, compare(quantizer, folder)


def is_linear(name, tensor):
    return ".layers." in name and name.endswith("weight") and tensor.ndim == 2


def written(folder, tensors, base=SOURCE, **config):
    """A checkpoint of the files of `base` with other weights."""
    shutil.copytree(base, folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    described = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def unpacked(folder, out):
    """What a W4A16 checkpoint means, written dense: eight integers from -8 to 7 in each int32,
    the lowest bits first, times their group's scale."""
    tensors = load_file(SOURCE / "model.safetensors")
    packed = load_file(folder / "model.safetensors")
    for name in [name for name, tensor in tensors.items() if is_linear(name, tensor)]:
        eighths = [packed[f"{name}_packed"] >> 4 * place & 15 for place in range(8)]
        integers, scale = torch.stack(eighths, -1).flatten(-2) - 8, packed[f"{name}_scale"]
        groups = integers.unflatten(-1, (scale.shape[-1], -1)).to(scale.dtype)
        tensors[name] = (groups * scale[..., None]).flatten(-2)
    return written(out, tensors)


def in_two_bits(out):
    """The source with its Linears' weights on a grid of four values by groups of 128."""
    tensors = load_file(SOURCE / "model.safetensors")
    for name, tensor in tensors.items():
        if is_linear(name, tensor):
            groups = tensor.float().unflatten(-1, (-1, 128))
            scale = groups.abs().amax(-1, keepdim=True) / 1.5
            damaged = (groups / scale).round().clamp(-2, 1) * scale
            tensors[name] = damaged.flatten(-2).to(tensor.dtype)
    return written(out, tensors)


def in_eight_bits(out, dense):
    """The source in int8 by channel, activations in int8 by token; `dense` is what its weights
    mean."""
    scheme = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": scheme | {"strategy": "channel"},
        "input_activations": scheme | {"strategy": "token", "dynamic": True},
        "format": "int-quantized",
    }
    config = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["proj_out"],
    }
    tensors, meant = load_file(SOURCE / "model.safetensors"), {}
    for name, tensor in list(tensors.items()):
        meant[name] = tensor
        if is_linear(name, tensor):
            scale = (tensor.float().abs().amax(-1, keepdim=True) / 127).to(tensor.dtype)
            integers = (tensor.float() / scale.float()).round().clamp(-128, 127)
            tensors |= {name: integers.to(torch.int8), f"{name}_scale": scale}
            meant[name] = integers.to(scale.dtype) * scale
    written(dense, meant)
    return written(out, tensors, quantization_config=config)


def inputs():
    """The clips in the prompts of service, written out by hand: what is heard, what the decoder is
    given, and what follows the prompt."""
    tokenizer = Tokenizer.from_file(str(SOURCE / "tokenizer.json"))
    extractor = WhisperFeatureExtractor.from_pretrained(SOURCE)
    seen = Counter()
    for clip in read(clips()):
        prompt = f"<|startoftranscript|><|{clip.language}|><|transcribe|>"
        space = " " * (clip.language == "en")
        if seen[clip.language] % 2 == 0:
            text = "".join(f"<|{a:.2f}|>{space}{words}<|{b:.2f}|>" for a, b, words in clip.timed)
        else:
            prompt, text = f"{prompt}<|notimestamps|>", f"{space}{clip.text}"
        seen[clip.language] += 1
        ids = tokenizer.encode(f"{prompt}{text}<|endoftext|>", add_special_tokens=False).ids
        forced = len(tokenizer.encode(prompt, add_special_tokens=False).ids)
        heard = extractor(clip.waveform().samples, sampling_rate=16000, return_tensors="pt")
        yield heard.input_features.to(DTYPE), torch.tensor([ids[:-1]]), torch.tensor(ids[forced:])


@dataclass
class Forward:
    """A checkpoint's own: nats of each token, the likeliest ones, and layers' outputs."""

    nats: np.ndarray
    likeliest: np.ndarray
    layers: dict[str, torch.Tensor]

    def errors(self, source):
        """Relative, of each layer."""
        return [
            ((self.layers[name] - right).norm() / right.norm()).item()
            for name, right in source.layers.items()
        ]


def forward(folder, before_linears=None):
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=DTYPE).eval()
    outputs = {name: [] for name in LAYERS}
    for name in LAYERS:
        layer = model.get_submodule(f"model.{name.replace('.', '.layers.')}")
        layer.register_forward_hook(lambda *given, name=name: outputs[name].append(given[2][0]))
        for module in layer.modules():
            if before_linears and isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(before_linears)
    nats, likeliest = [], []
    for heard, ids, wanted in inputs():
        with torch.no_grad():
            logits = model(input_features=heard, decoder_input_ids=ids).logits[0, -len(wanted) :]
        nats += torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none").tolist()
        likeliest += logits.argmax(-1).tolist()
    layers = {name: torch.cat(several).float() for name, several in outputs.items()}
    return Forward(np.array(nats), np.array(likeliest), layers)


@pytest.fixture(scope="module")
def source():
    return forward(SOURCE)


def test_a_checkpoint_differs_in_nothing_from_itself(quantizer):
    told = []
    figures = compare(quantizer, SOURCE, clips(10), told.append)
    overall = figures["overall"]
    assert overall["nll_difference"] == {"value": 0, "low": 0, "high": 0}
    assert overall["token_agreement"] == {"value": 1, "low": 1, "high": 1}
    assert [layer["name"] for layer in figures["layers"]] == LAYERS
    for key in ("relative_error", "own_relative_error"):
        assert relative(figures["layers"], key) == [0] * len(LAYERS)
    assert set(figures["languages"]) == {"en", "zh"}
    for key in ("clips", "tokens"):
        assert figures[key] == sum(one[key] for one in figures["languages"].values())
    assert 1e8 < figures["peak_rss_bytes"] < 4e9
    assert [one.done for one in told] == list(range(21))
    assert {one.total for one in told} == {20}
    assert told[-1].eta_seconds == 0


def test_the_figures_are_those_of_an_independent_forward(rounded, source, tmp_path):
    folder, figures = rounded
    candidate = forward(unpacked(folder, tmp_path / "dense"))
    overall = figures["overall"]
    assert figures["tokens"] == len(source.nats)
    assert overall["source_nll"] == pytest.approx(source.nats.mean(), rel=1e-3)
    assert overall["candidate_nll"] == pytest.approx(candidate.nats.mean(), rel=1e-3)
    difference = overall["nll_difference"]
    assert difference["value"] == pytest.approx((candidate.nats - source.nats).mean(), abs=3e-4)
    assert difference["low"] < difference["value"] < difference["high"]
    agreeing = (candidate.likeliest == source.likeliest).mean()
    one_token = 1.01 / figures["tokens"]
    assert overall["token_agreement"]["value"] == pytest.approx(agreeing, abs=one_token)
    layers = figures["layers"]
    assert relative(layers) == pytest.approx(candidate.errors(source), rel=0.01)
    own = relative(layers, "own_relative_error")
    assert own[0] == relative(layers)[0]
    later = zip(own[1:], relative(layers)[1:], strict=True)
    assert all(0 < alone < together for alone, together in later)


def relative(layers, key="relative_error"):
    return [layer[key] for layer in layers]


@pytest.mark.slow
def test_two_bits_lose_more_than_four(quantizer, rounded, tmp_path):
    _, four = rounded
    two = compare(quantizer, in_two_bits(tmp_path / "two"))
    assert two["overall"]["nll_difference"]["low"] > four["overall"]["nll_difference"]["high"]
    agreements = [figures["overall"]["token_agreement"]["value"] for figures in (two, four)]
    assert agreements[0] < agreements[1]
    for key in ("relative_error", "own_relative_error"):
        worse, better = relative(two["layers"], key), relative(four["layers"], key)
        assert all(of_two > 2 * of_four for of_two, of_four in zip(worse, better, strict=True))


@pytest.mark.slow
def test_activations_are_quantized_where_the_scheme_says_so(quantizer, source, tmp_path):
    figures = compare(quantizer, in_eight_bits(tmp_path / "w8a8", tmp_path / "dense"))
    both = forward(tmp_path / "dense", before_linears=activations_in_eight_bits)
    weights = forward(tmp_path / "dense")
    found = relative(figures["layers"])
    assert found == pytest.approx(both.errors(source), rel=0.1)
    assert found[0] > 1.2 * weights.errors(source)[0]
    assert figures["overall"]["candidate_nll"] == pytest.approx(both.nats.mean(), abs=2e-3)


def activations_in_eight_bits(_, args):
    """Each token's on a grid of int8, reckoned in float32 as kernels do."""
    (values,) = args
    scale = values.float().abs().amax(-1, keepdim=True) / 127
    return ((values.float() / scale).round() * scale).to(values.dtype)


def test_a_candidate_that_lacks_weights_is_refused(quantizer, rounded, tmp_path):
    folder, _ = rounded
    tensors = load_file(folder / "model.safetensors")
    lost = "model.encoder.layers.1.fc1.weight_scale"
    del tensors[lost]
    with pytest.raises(QuantizerFailed, match=lost):
        compare(quantizer, written(tmp_path / "lacking", tensors, folder), clips(1))


@pytest.mark.slow
def test_a_candidate_that_computes_no_numbers_is_refused(quantizer, tmp_path):
    tensors = load_file(SOURCE / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.bias"].fill_(float("nan"))
    with pytest.raises(QuantizerFailed, match="finite"):
        compare(quantizer, written(tmp_path / "broken", tensors), clips(1))
