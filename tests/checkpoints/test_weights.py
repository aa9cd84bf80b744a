"""Bytes that are read for a token, counted by hand."""

import json

import pytest

from app.checkpoints.weights import bytes_per_token


def safetensors(path, dtype="U8", **sizes):
    """A file whose tensors are of these sizes in bytes."""
    header: dict[str, dict[str, object]] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, size in sizes.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


DECODER = {
    "model.decoder.layers.0.self_attn.q_proj.weight": 10,
    "model.decoder.layers.0.self_attn.k_proj.weight_packed": 20,
    "model.decoder.layers.0.encoder_attn.q_proj.weight": 40,
    "model.decoder.layers.0.fc1.weight": 80,
    "model.decoder.layer_norm.weight": 160,
}
EMBEDDING = {"model.decoder.embed_tokens.weight": 1000}
NOT_A_TOKENS = {
    "model.encoder.layers.0.fc1.weight": 5,
    "model.encoder.conv1.weight": 5,
    "model.decoder.layers.0.encoder_attn.k_proj.weight": 5,
    "model.decoder.layers.0.encoder_attn.v_proj.weight_packed": 5,
    "model.decoder.layers.0.encoder_attn.v_proj.weight_scale": 5,
    "model.decoder.embed_positions.weight": 5,
}


def test_what_the_decoder_reads_for_a_token_is_counted_and_nothing_else(tmp_path):
    safetensors(tmp_path / "model.safetensors", **DECODER, **EMBEDDING, **NOT_A_TOKENS)
    assert bytes_per_token(tmp_path) == sum(DECODER.values()) + 1000


def test_an_output_projection_that_is_the_embedding_is_counted_once(tmp_path):
    tied = EMBEDDING | {"proj_out.weight": 1000}
    safetensors(tmp_path / "model.safetensors", **DECODER, **tied)
    assert bytes_per_token(tmp_path) == sum(DECODER.values()) + 1000


def test_all_of_its_files_are_counted(tmp_path):
    safetensors(tmp_path / "model-00001-of-00002.safetensors", **DECODER)
    safetensors(tmp_path / "model-00002-of-00002.safetensors", **EMBEDDING)
    assert bytes_per_token(tmp_path) == sum(DECODER.values()) + 1000


@pytest.mark.parametrize(("dtype", "loaded"), [("F64", 4), ("F32", 2), ("F16", 1), ("BF16", 1)])
def test_weights_count_as_they_are_loaded(tmp_path, dtype, loaded):
    safetensors(tmp_path / "model.safetensors", dtype, **DECODER, **EMBEDDING)
    whole = sum(DECODER.values()) + 1000
    assert bytes_per_token(tmp_path) * loaded == pytest.approx(whole, abs=20)


@pytest.mark.parametrize("tensors", [{}, NOT_A_TOKENS])
def test_a_checkpoint_without_a_decoder_reads_nothing(tmp_path, tensors):
    safetensors(tmp_path / "model.safetensors", **tensors)
    assert bytes_per_token(tmp_path) == 0
