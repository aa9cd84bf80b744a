"""A checkpoint's shape, and what it weighs, with and without its files."""

import json
import struct
from dataclasses import replace

import pytest

from app.checkpoints.weights import weight_bytes
from app.environment import DEMO
from app.errors import BadSource
from app.models.whisper_vllm.shape import (
    SHAPES,
    Architecture,
    ModelShape,
    loaded_bytes,
)

LARGE_V2 = SHAPES["openai/whisper-large-v2"]
MARINE = DEMO / "marine-radio"
CONFIG = json.loads((MARINE / "config.json").read_text("utf-8"))


@pytest.fixture
def checkpoint(tmp_path):
    """A file of weights with one tensor of each dtype."""

    def write(**tensors):
        header: dict[str, dict[str, object]] = {"__metadata__": {"format": "pt"}}
        end = 0
        for dtype, (shape, size) in tensors.items():
            header[dtype] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        file = tmp_path / "model.safetensors"
        file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
        return tmp_path

    return write


def test_the_demos_weights_are_computed_to_the_byte():
    """As far as they are tensors: the file has a header of 8 bytes, and as many as these say."""
    header = struct.unpack("<Q", (MARINE / "model.safetensors").read_bytes()[:8])[0] + 8
    assert Architecture.of(CONFIG).weight_bytes("bf16") == weight_bytes(MARINE) - header


@pytest.mark.parametrize(
    ("scheme", "measured"),
    [("fp16", 3_086_757_856), ("bf16", 3_086_757_856), ("W4A16", 908_074_696)],
)
def test_large_v2s_weights_are_computed_within_a_thousandth_of_its_files(scheme, measured):
    """The files were made by bench.large; their headers are what is missing."""
    assert 0.999 * measured < LARGE_V2.weight_bytes(scheme) < measured


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        ("openai/whisper-tiny", 37.76),
        ("openai/whisper-base", 72.59),
        ("openai/whisper-small", 241.73),
        ("openai/whisper-medium", 763.86),
        ("openai/whisper-large-v3", 1543.49),
        ("openai/whisper-large-v3-turbo", 808.88),
    ],
)
def test_known_shapes_have_as_many_parameters_as_their_makers_say(model, millions):
    assert SHAPES[model].weight_bytes("bf16") / 2e6 == pytest.approx(millions, abs=0.01)


def test_smaller_groups_cost_a_scale_for_each():
    linears = 1_468_006_400
    more = LARGE_V2.weight_bytes("W4A16", 32) - LARGE_V2.weight_bytes("W4A16", 128)
    assert more == 2 * (linears // 32 - linears // 128)


def test_eight_bits_weigh_between_four_and_sixteen():
    four, eight, rows, sixteen = map(LARGE_V2.weight_bytes, ("W4A16", "W8A16", "W8A8", "bf16"))
    assert four < rows < eight < sixteen


def test_a_config_that_does_not_say_is_told():
    with pytest.raises(BadSource, match="vocab_size"):
        Architecture.of({name: value for name, value in CONFIG.items() if name != "vocab_size"})


def test_a_shapes_geometry_is_its_folders():
    shape = Architecture.of(CONFIG)
    assert shape.geometry("bf16") == ModelShape.of(MARINE)
    assert replace(shape.geometry("W4A16"), weight_bytes=0) == ModelShape(2, 256, 1500, 448, 0)


def test_32_bit_weights_are_loaded_as_16_bit_and_others_as_they_are(checkpoint):
    folder = checkpoint(F32=([10, 3], 120), BF16=([4], 8), I32=([5], 20))
    assert loaded_bytes(folder) == 60 + 8 + 20


def test_weights_in_torchs_own_format_weigh_as_their_files(tmp_path):
    (tmp_path / "pytorch_model-00001-of-00001.bin").write_bytes(bytes(7))
    assert loaded_bytes(tmp_path) == 7


@pytest.mark.parametrize("content", [b"", b"weights and more", struct.pack("<Q", 2**63) + b"{}x"])
def test_a_file_that_is_no_safetensors_is_told(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(BadSource, match=r"model\.safetensors is not a safetensors file"):
        loaded_bytes(tmp_path)
