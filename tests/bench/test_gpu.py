"""The benchmark for a card, as far as it goes without one."""

import argparse
import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench import gpu
from bench.float8 import to_float8
from bench.peers import Peer
from bench.random_checkpoint import make
from bench.throughput import Recording, Round

TINY = {
    "d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1,
    "decoder_attention_heads": 1, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
}  # fmt: skip
EXPOSITION = """\
# HELP vllm:generation_tokens_total Tokens
vllm:generation_tokens_total{model="a"} 30.0
vllm:generation_tokens_total{model="b"} 12.0
vllm:generation_tokens_total_created{model="b"} 9.0
vllm:time_to_first_token_seconds_count{model="a"} 2.0
"""


def a_card(folder, monkeypatch, told):
    """An nvidia-smi that tells this."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def no_card(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_card")
def test_without_a_card_there_is_nothing_to_measure_and_the_rows_are_blank(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    assert gpu.main(["--at-once", "1", "64"]) == 1
    told = capsys.readouterr().out
    assert gpu.NOTHING in told
    assert len([line for line in told.splitlines() if "vllm serve" in line]) == 2 * 4
    assert "encoder FP8, decoder W4A16" in told


def test_a_card_is_described_by_its_driver(tmp_path, monkeypatch):
    a_card(tmp_path, monkeypatch, "NVIDIA GeForce RTX 4070, 8.9, 12282")
    assert gpu.card() == gpu.Card("NVIDIA GeForce RTX 4070", (8, 9), 12282 * 2**20)
    a_card(tmp_path, monkeypatch, "512")
    assert gpu.used() == 512


def test_a_card_of_8_gb_keeps_all_its_memory():
    with gpu.ballast(gpu.Card("small", (7, 5), 7 * 2**30), 7.2):
        pass  # or it would need CUDA


def asked(**changed):
    whole = {"layers": 1, "model": None, "like": gpu.DEMO / "marine-radio", "rounds": 2}
    return argparse.Namespace(**whole | {"at_once": [1, 2], "gib": 7.2, "clips": 2} | changed)


@pytest.mark.parametrize(("capability", "has_float8"), [((8, 6), False), ((8, 9), True)])
def test_float8_is_made_from_ada_on(monkeypatch, tmp_path, capability, has_float8):
    told = []

    def made(folder, work, *, with_float8):
        told.append((folder, with_float8))
        return iter([("fp16", folder)])

    monkeypatch.setattr(gpu, "made", made)
    given = asked(model=Path("real"))
    assert list(gpu.checkpoints(given, tmp_path, capability)) == [("fp16", Path("real"))]
    assert told == [(Path("real"), has_float8)]


def test_a_row_has_rates_by_the_engines_own_count(monkeypatch):
    counted = iter([(100.0, 10.0), (400.0, 40.0)])
    monkeypatch.setattr(gpu, "counts", lambda _: next(counted))
    monkeypatch.setattr(gpu, "used", lambda: 5000)
    clips = [Recording(Path("a"), "", 4.0)]

    async def answered(peer, sort, clips, load):
        return Round(16.0, [0.25] * load.requests, 0.0)

    monkeypatch.setattr(gpu, "asked_for", answered)
    peer = Peer("Marlinscribe", 1, 1, {})
    # Two rounds of eight clips of 4 s, at 16 times their pace: 4 s.
    assert gpu.row(peer, "W4A16", 1, clips, 2, 1000) == (
        "W4A16", "Marlinscribe", "1", "16.0", "250", "250", "75", "7.5", "4000",
    )  # fmt: skip


def test_a_server_that_fails_leaves_a_row_that_says_why_and_the_others_go_on(monkeypatch):
    @contextmanager
    def breaks():
        raise RuntimeError("much before\nnot one window fits")
        yield

    monkeypatch.setattr(gpu, "ours", lambda *_: breaks())
    monkeypatch.setattr(gpu, "theirs", lambda *_: breaks())
    monkeypatch.setattr(gpu, "recordings", lambda *_: [])
    monkeypatch.setattr(gpu, "checkpoints", lambda *_: iter([("fp16", Path("a"))]))
    rows = list(gpu.measured(asked(), gpu.Card("c", (8, 0), 2**34), Path("work")))
    assert [one[:4] for one in rows] == [
        ("fp16", server, "", "not measured: not one window fits") for server in gpu.SERVERS
    ]
    assert {len(one) for one in rows} == {len(gpu.blank([1])[0])}
    gpu.show("a table takes them", rows)


def test_samples_of_a_name_are_added_and_no_others():
    assert gpu.total(EXPOSITION, "vllm:generation_tokens_total") == 42
    assert gpu.total(EXPOSITION, "vllm:time_to_first_token_seconds_count") == 2
    assert gpu.total(EXPOSITION, "vllm:nothing_total") == 0


def test_random_weights_take_the_tokenizer_of_another(tmp_path):
    like = tmp_path / "like"
    like.mkdir()
    (like / "config.json").write_text('{"eos_token_id": 7}')
    (like / "preprocessor_config.json").write_text("{}")
    folder, _ = make(tmp_path / "made", like=like, max_target_positions=64, **TINY)
    config = json.loads((folder / "config.json").read_text())
    assert (config["eos_token_id"], config["d_model"]) == (7, 64)
    assert (folder / "preprocessor_config.json").exists()
    (tensors,) = (load_file(path) for path in folder.glob("*.safetensors"))
    assert tensors["model.decoder.embed_positions.weight"].shape == (64, 64)


@pytest.fixture
def eight_bits(tmp_path):
    """A made checkpoint with a layer in W8A8 and one in W4A16."""
    folder = tmp_path / "made"
    folder.mkdir()
    groups = {
        "group_0": {
            "format": "int-quantized",
            "weights": {"num_bits": 8, "type": "int"},
            "input_activations": {"num_bits": 8, "type": "int", "dynamic": True},
        },
        "group_1": {"format": "pack-quantized", "weights": {"num_bits": 4, "type": "int"}},
    }
    quantized = {"format": "mixed-precision", "config_groups": groups}
    (folder / "config.json").write_text(json.dumps({"quantization_config": quantized}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "manifest.json").write_text("{}")
    torch.manual_seed(0)
    weights = {
        "encoder.fc1.weight": torch.randint(-127, 128, (8, 16), dtype=torch.int8),
        "encoder.fc1.weight_scale": torch.rand(8, 1).half() + 0.01,
        "decoder.fc1.weight_packed": torch.arange(8, dtype=torch.int32).reshape(2, 4),
    }
    save_file(weights, folder / "model.safetensors")
    return folder, weights


def test_eight_bit_layers_become_float8_and_the_others_stay(eight_bits, tmp_path):
    folder, before = eight_bits
    out = to_float8(folder, tmp_path / "out")
    after = load_file(out / "model.safetensors")
    weight, scale = after["encoder.fc1.weight"], after["encoder.fc1.weight_scale"]
    assert (weight.dtype, scale.dtype) == (torch.float8_e4m3fn, torch.float32)
    wanted = before["encoder.fc1.weight"].float() * before["encoder.fc1.weight_scale"].float()
    least = 2.0**-9 * scale  # float8's smallest number
    error = (weight.float() * scale - wanted).abs() - least
    assert bool((error <= wanted.abs() / 16).all())  # three bits of mantissa
    assert torch.equal(after["decoder.fc1.weight_packed"], before["decoder.fc1.weight_packed"])


def test_float8_is_named_in_the_config_and_the_manifest_is_left_behind(eight_bits, tmp_path):
    out = to_float8(eight_bits[0], tmp_path / "out")
    told = json.loads((out / "config.json").read_text())["quantization_config"]
    eight, four = told["config_groups"].values()
    assert eight["format"] == "float-quantized"
    assert (eight["weights"]["type"], eight["input_activations"]["type"]) == ("float", "float")
    assert (four["format"], four["weights"]["type"]) == ("pack-quantized", "int")
    assert {path.name for path in out.iterdir()} == {
        "config.json", "tokenizer.json", "model.safetensors",
    }  # fmt: skip
