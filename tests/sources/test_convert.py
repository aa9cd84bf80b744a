"""A Whisper is the same one, whoever saved it."""

import errno
import json
import os
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app.errors import BadSource, DiskFull
from app.models.whisper_vllm.tokens import SpecialTokens
from app.sources import layout
from app.sources.identity import identity_of
from app.sources.resolve import resolve
from tests.sources.small_whisper import (
    TOKENS,
    save_ctranslate2,
    save_openai,
    save_tokenizer,
    tensors,
)


@pytest.fixture(scope="module")
def whole():
    return tensors()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, whole):
    return save_ctranslate2(tmp_path / "faster-whisper-mine", whole)


def converted(path, cache):
    return resolve(str(path), cache).folder


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[n], theirs[n]) for n in ours)


def test_a_folder_of_faster_whispers_is_served_with_the_same_weights(folder, cache, whole):
    source = resolve(str(folder), cache)
    assert (source.name, source.config["decoder_attention_heads"]) == ("faster-whisper-mine", 2)
    assert same(load_file(source.folder / "model.safetensors"), whole)


def test_a_file_of_openais_is_served_with_the_same_weights(tmp_path, cache, whole):
    source = resolve(str(save_openai(tmp_path / "mine.pt", whole)), cache)
    assert source.name == "mine"
    assert same(load_file(source.folder / "model.safetensors"), whole)


def test_a_model_has_one_identity_whoever_saved_it(folder, tmp_path, cache, whole):
    """And in 32 bits, as the hub has OpenAI's smaller ones."""
    one = converted(folder, cache)
    other = converted(save_openai(tmp_path / "mine.pt", whole), cache)
    wide = tmp_path / "wide"
    shutil.copytree(one, wide)
    numbers = {name: array.astype(np.float32) for name, array in whole.items()}
    save_file(numbers, wide / "model.safetensors")
    assert identity_of(one) == identity_of(other) == identity_of(wide)


@pytest.mark.parametrize("what", ["a weight", "a weight beyond float16", "heads", "rules"])
def test_another_model_has_another_identity(folder, cache, whole, what):
    found = converted(folder, cache)
    before = identity_of(found)
    if what.startswith("a weight"):
        numbers = {name: array.astype(np.float32) for name, array in whole.items()}
        numbers["model.encoder.conv1.bias"][0] += 1 if what == "a weight" else 1e-7
        save_file(numbers, found / "model.safetensors")
    else:
        name = "config.json" if what == "heads" else "generation_config.json"
        key = "decoder_attention_heads" if what == "heads" else "suppress_tokens"
        content = json.loads((found / name).read_text())
        (found / name).write_text(json.dumps(content | {key: [7] if what == "rules" else 4}))
    assert identity_of(found) != before


def test_an_identity_is_found_once_for_files_that_did_not_change(folder, cache, monkeypatch):
    source = resolve(str(folder), cache)
    found = source.identity()
    monkeypatch.setattr("app.sources.identity.identity_of", lambda _: pytest.fail("read again"))
    assert source.identity() == found


def test_the_rules_of_decoding_are_openais_and_the_checkpoints_own(folder, cache):
    found = converted(folder, cache)
    tokens = SpecialTokens.load(found)
    assert (tokens.suppressed_at_begin, len(tokens.languages)) == ((220, 50257), 99)
    assert {1, 2, 7, 8, 50254, 50258} <= set(tokens.suppressed)
    generation = json.loads((found / "generation_config.json").read_text())
    assert generation["alignment_heads"] == [[0, 1]]


def test_a_tokenizer_beside_the_weights_is_taken(folder, cache):
    save_tokenizer(folder)
    text = json.loads((folder / "tokenizer.json").read_text())
    text["added_tokens"][-1]["content"] = "<|mine|>"
    (folder / "tokenizer.json").write_text(json.dumps(text))
    assert "<|mine|>" in (converted(folder, cache) / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BadSource, match="is no tokenizer"):
        resolve(str(folder), cache)


def test_what_was_converted_is_not_converted_again(folder, cache, monkeypatch):
    first = converted(folder, cache)
    monkeypatch.setattr(layout, "write", lambda *_: pytest.fail("converted again"))
    assert converted(folder, cache) == first


def test_large_weights_are_parted_into_files(folder, cache, monkeypatch):
    monkeypatch.setattr(layout, "_SHARD_BYTES", 100_000)
    found = converted(folder, cache)
    index = json.loads((found / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    assert all((found / name).exists() for name in index.values())


def cut(folder, whole):
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(content[: len(content) // 2])


def unfinished(folder, whole):
    (folder / "model.bin").write_bytes(b"\x06\0")


def renamed(folder, whole):
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(
        content.replace(b"encoder/conv2/bias", b"encoder/conv9/bias")
    )


FAULTS = {
    "cut off": (cut, "ends early|no whole"),
    "a few bytes": (unfinished, "no whole"),
    "an unknown tensor": (renamed, "no whole"),
    "8 bits": (lambda f, w: save_ctranslate2(f, w, dtype=np.int8), "quantized to integers"),
    "another architecture": (
        lambda f, w: save_ctranslate2(f, w, spec="TransformerSpec"), "not a Whisper",
    ),
    "an older format": (lambda f, w: save_ctranslate2(f, w, number=5), "format 5, not 6"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_whole_whisper_is_refused_and_nothing_is_left(folder, cache, whole, fault):
    damage, said = FAULTS[fault]
    damage(folder, whole)
    with pytest.raises(BadSource, match=said):
        resolve(str(folder), cache)
    assert [p for p in (cache / "sources").iterdir() if p.suffix != ".lock"] == []


def test_weights_that_lack_a_tensor_or_have_one_too_many_are_refused(tmp_path, cache, whole):
    lacking = {name: array for name, array in whole.items() if "conv2.bias" not in name}
    with pytest.raises(BadSource, match=r"lack model\.encoder\.conv2\.bias"):
        resolve(str(save_openai(tmp_path / "few.pt", lacking)), cache)
    more = whole | {"model.encoder.adapter": np.zeros(2, np.float16)}
    with pytest.raises(BadSource, match="which no Whisper has"):
        resolve(str(save_openai(tmp_path / "more.pt", more)), cache)
    with pytest.raises(BadSource, match="lack"):
        resolve(str(save_openai(tmp_path / "none.pt", {})), cache)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [{"a": 1}, [1], Evil()], ids=["other", "list", "code"])
def test_a_pt_file_that_is_no_whisper_is_refused_and_not_run(tmp_path, cache, content, capsys):
    import torch

    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(BadSource, match=r"no Whisper|no file of OpenAI"):
        resolve(str(tmp_path / "other.pt"), cache)
    assert "run" not in capsys.readouterr().out


def test_a_pt_file_that_is_none_is_refused(tmp_path, cache):
    (tmp_path / "other.pt").write_bytes(b"nothing")
    with pytest.raises(BadSource, match="no file of OpenAI"):
        resolve(str(tmp_path / "other.pt"), cache)


def test_a_full_disk_leaves_nothing_half_made(folder, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layout, "_write_weights", full)
    with pytest.raises(DiskFull, match="No space left"):
        resolve(str(folder), cache)
    assert [p for p in (cache / "sources").iterdir() if p.suffix != ".lock"] == []


def test_a_vocabulary_that_is_none_of_openais_asks_for_its_tokenizer(tmp_path, cache, whole):
    name = "model.decoder.embed_tokens.weight"
    small = whole | {name: whole[name][: TOKENS - 100]}
    with pytest.raises(BadSource, match="none of OpenAI's"):
        resolve(str(save_openai(tmp_path / "small.pt", small)), cache)


def test_a_vocabulary_of_its_own_that_names_languages_is_of_several(tmp_path, cache, whole):
    name = "model.decoder.embed_tokens.weight"
    more = whole | {name: whole[name][:51_863]}
    save_tokenizer(tmp_path)
    found = converted(save_openai(tmp_path / "own.pt", more), cache)
    assert len(SpecialTokens.load(found).languages) == 99


def test_bfloat16_is_known_by_float16_where_that_is_exact(tmp_path, folder, cache, whole):
    """Small whole numbers are both's."""
    import torch
    from safetensors.torch import save_file as save_torch

    found = converted(folder, cache)
    plain = {name: torch.ones(array.shape) for name, array in whole.items()}
    identities = []
    for dtype in (torch.float16, torch.bfloat16):
        numbers = {name: tensor.to(dtype) for name, tensor in plain.items()}
        save_torch(numbers, found / "model.safetensors")
        identities.append(identity_of(found))
    (found / "model.safetensors").unlink()
    torch.save(plain, found / "pytorch_model.bin")
    identities.append(identity_of(found))
    assert identities[0] == identities[1] == identities[2]


def test_a_header_that_lies_is_no_safetensors_file(folder, cache):
    source = resolve(str(folder), cache)
    (source.folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**40))
    with pytest.raises(BadSource, match="not a safetensors file"):
        source.identity()


def test_a_folder_without_a_config_is_decoded_by_openais_rules(folder, cache):
    (folder / "config.json").unlink()
    tokens = SpecialTokens.load(converted(folder, cache))
    assert tokens.suppressed_at_begin == (220, 50257)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_config_that_cannot_be_read_is_told(folder, cache, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(BadSource, match=r"config\.json cannot be read"):
        resolve(str(folder), cache)


def test_a_pipe_beside_the_weights_is_not_waited_for(folder, cache):
    for name in ("config.json", "tokenizer.json"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    assert converted(folder, cache)


def test_weights_in_hugging_faces_layout_are_taken_before_ctranslate2s(folder, cache):
    found = converted(folder, cache)
    (found / "model.bin").write_bytes(b"another")
    assert converted(found, cache) == found
