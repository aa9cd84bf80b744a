"""A checkpoint that could not be served in the end is refused at the start."""

import json
import shutil

import pytest

from app.environment import DEMO
from app.errors import BadSource
from app.sources.resolve import resolve


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    shutil.copy(DEMO / "marine-radio" / "config.json", target)
    (target / "model.safetensors").touch()
    return target


def configure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def quantization(actorder="static", ignore=(), method="compressed-tensors"):
    weights = {"num_bits": 4, "actorder": actorder}
    return {
        "quant_method": method,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": list(ignore),
    }


def test_a_folder_is_named_after_itself(folder, tmp_path):
    source = resolve(str(folder), tmp_path)
    assert (source.name, source.revision, source.quantized) == ("mine", "", False)


def test_a_compressed_checkpoint_is_recognised(folder, tmp_path):
    configure(folder, quantization_config=quantization())
    assert resolve(str(folder), tmp_path).quantized


@pytest.mark.parametrize("actorder", ["weight", None])
def test_act_orders_that_vllm_loads_are_accepted(folder, actorder, tmp_path):
    configure(folder, quantization_config=quantization(actorder))
    assert resolve(str(folder), tmp_path).quantized


@pytest.mark.parametrize("actorder", ["group", "dynamic"])
def test_act_orders_that_vllm_does_not_load_are_refused(folder, actorder, tmp_path):
    configure(folder, quantization_config=quantization(actorder))
    with pytest.raises(BadSource, match="act-order"):
        resolve(str(folder), tmp_path)


def test_fused_projections_share_one_scheme_or_are_refused(folder, tmp_path):
    layer = "model.decoder.layers.0"
    whole = [f"{layer}.self_attn.{p}_proj" for p in "qkv"]
    whole += [f"{layer}.encoder_attn.{p}_proj" for p in "kv"]
    configure(folder, quantization_config=quantization(ignore=["proj_out", *whole]))
    assert resolve(str(folder), tmp_path).quantized
    configure(folder, quantization_config=quantization(ignore=[r"re:.*layers\.0\.self_attn.*"]))
    assert resolve(str(folder), tmp_path).quantized
    configure(folder, quantization_config=quantization(ignore=whole[1:]))
    with pytest.raises(BadSource, match="several schemes"):
        resolve(str(folder), tmp_path)


def test_other_quantizations_are_refused(folder, tmp_path):
    configure(folder, quantization_config=quantization(method="bitsandbytes"))
    with pytest.raises(BadSource, match="bitsandbytes"):
        resolve(str(folder), tmp_path)


def test_another_architecture_is_refused(folder, tmp_path):
    configure(folder, model_type="llama")
    with pytest.raises(BadSource, match="not a Whisper but llama"):
        resolve(str(folder), tmp_path)


def test_a_folder_without_weights_is_refused(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadSource, match="no weights"):
        resolve(str(folder), tmp_path)


def test_a_broken_config_is_refused(folder, tmp_path):
    (folder / "config.json").write_text("{")
    with pytest.raises(BadSource, match=r"no readable config\.json"):
        resolve(str(folder), tmp_path)


@pytest.mark.parametrize("model", ["/no/such/folder", "whisper", "./nowhere", ""])
def test_what_is_neither_folder_nor_id_is_refused(model, tmp_path):
    with pytest.raises(BadSource):
        resolve(model, tmp_path)


def test_a_hub_id_that_cannot_be_reached_says_what_to_do(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadSource) as caught:
        resolve("openai/whisper-large-v2", tmp_path)
    assert "local folder" in caught.value.advice
