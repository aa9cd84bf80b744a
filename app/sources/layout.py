"""Writing of weights into Hugging Face's layout: what vLLM and llm-compressor load."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file
from tokenizers import Tokenizer

from app.errors import BadSource
from app.languages import NAMES
from app.sources.vocabulary import is_multilingual, non_speech_tokens
from app.sources.weights import Tensors, Weights

_SHARD_BYTES = 10**9  # of a file; one at a time is copied into memory
_INDEX = "model.safetensors.index.json"
_ALTERNATIVE_SPELLING = {"<|nocaptions|>": "<|nospeech|>"}


def write(folder: Path, weights: Weights, tokenizer: Tokenizer, rules: Mapping[str, Any]) -> None:
    """Write a checkpoint's folder: weights as they are, config, tokenizer, and what openai/whisper
    decodes by, or the checkpoint's own `rules` of generation_config.json.

    Raises BadSource where the tensors are no whole Whisper's, OSError.
    """
    config = _config(weights)
    _check_whole(weights.tensors, config)
    tokens = _special(tokenizer)
    for name, content in {
        "config.json": config | _ends(tokens),
        "generation_config.json": _generation(tokenizer, tokens, config)
        | _ends(tokens)
        | dict(rules),
        "preprocessor_config.json": _features(config["num_mel_bins"]),
        "tokenizer_config.json": _tokenizer_config(),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True), "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_weights(folder, weights.tensors)


def _config(weights: Weights) -> dict[str, Any]:
    """config.json, from the tensors' shapes. Raises BadSource."""
    tensors = weights.tensors
    try:
        vocabulary, width = tensors["model.decoder.embed_tokens.weight"].shape
        shape: dict[str, Any] = {
            "d_model": width,
            "vocab_size": vocabulary,
            "num_mel_bins": tensors["model.encoder.conv1.weight"].shape[1],
            "max_source_positions": len(tensors["model.encoder.embed_positions.weight"]),
            "max_target_positions": len(tensors["model.decoder.embed_positions.weight"]),
        }
        for side, heads in (("encoder", weights.encoder_heads), ("decoder", weights.decoder_heads)):
            shape[f"{side}_layers"] = _layers(tensors, side)
            shape[f"{side}_attention_heads"] = heads
            shape[f"{side}_ffn_dim"] = len(tensors[f"model.{side}.layers.0.fc1.weight"])
    except (KeyError, ValueError, IndexError) as error:
        raise BadSource(
            f"The weights are no whole Whisper's: {error}.", "Get them again."
        ) from error
    dtype = str(tensors["model.decoder.embed_tokens.weight"].dtype)
    return shape | {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "is_encoder_decoder": True,
        "activation_function": "gelu",
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "dtype": dtype,
    }


def _layers(tensors: Tensors, side: str) -> int:
    found = {int(m[1]) for n in tensors if (m := re.match(rf"model\.{side}\.layers\.(\d+)\.", n))}
    return max(found) + 1


def _check_whole(tensors: Tensors, config: dict[str, Any]) -> None:
    expected = set(_names(config))
    if missing := sorted(expected - tensors.keys()):
        raise BadSource(
            f"The weights lack {missing[0]} and {len(missing) - 1} others.", "Get them again."
        )
    if unknown := sorted(tensors.keys() - expected):
        raise BadSource(f"The weights hold {unknown[0]}, which no Whisper has.", "Get a Whisper's.")


def _names(config: dict[str, Any]) -> Iterator[str]:
    """Every tensor of a Whisper."""
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight"
        yield from _both(f"model.{side}.layer_norm")
        blocks = ("self_attn", "encoder_attn") if side == "decoder" else ("self_attn",)
        for number in range(config[f"{side}_layers"]):
            layer = f"model.{side}.layers.{number}"
            for block in blocks:
                yield f"{layer}.{block}.k_proj.weight"
                for part in (".q_proj", ".v_proj", ".out_proj", "_layer_norm"):
                    yield from _both(f"{layer}.{block}{part}")
            for part in ("fc1", "fc2", "final_layer_norm"):
                yield from _both(f"{layer}.{part}")
    yield "model.decoder.embed_tokens.weight"
    yield from _both("model.encoder.conv1")
    yield from _both("model.encoder.conv2")


def _both(name: str) -> tuple[str, str]:
    return f"{name}.weight", f"{name}.bias"


def _special(tokenizer: Tokenizer) -> dict[str, int]:
    """The special tokens and their ids."""
    added = {one.content: i for i, one in tokenizer.get_added_tokens_decoder().items()}
    return {_ALTERNATIVE_SPELLING.get(content, content): i for content, i in added.items()}


def _ends(tokens: dict[str, int]) -> dict[str, int]:
    end = tokens["<|endoftext|>"]
    start = tokens["<|startoftranscript|>"]
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end,
            "decoder_start_token_id": start}  # fmt: skip


def _generation(
    tokenizer: Tokenizer, tokens: dict[str, int], config: dict[str, Any]
) -> dict[str, Any]:
    end, no_timestamps = tokens["<|endoftext|>"], tokens["<|notimestamps|>"]
    languages = {f"<|{code}|>": tokens[f"<|{code}|>"] for code in NAMES if f"<|{code}|>" in tokens}
    multilingual = is_multilingual(config["vocab_size"]) and bool(languages)
    known: dict[str, Any] = {"lang_to_id": languages} if multilingual else {}
    return known | {
        "is_multilingual": multilingual,
        "task_to_id": {name: tokens[f"<|{name}|>"] for name in ("transcribe", "translate")},
        "no_timestamps_token_id": no_timestamps,
        "prev_sot_token_id": tokens["<|startofprev|>"],
        "suppress_tokens": list(non_speech_tokens(tokenizer)),
        "begin_suppress_tokens": [*tokenizer.encode(" ", add_special_tokens=False).ids, end],
        "max_initial_timestamp_index": 50,
        "max_length": config["max_target_positions"],
    }


def _features(mels: int) -> dict[str, Any]:
    """preprocessor_config.json: log-mel spectra of 30 s at 16 kHz (arXiv:2212.04356, 2.2)."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": mels,
        "sampling_rate": 16000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _tokenizer_config() -> dict[str, Any]:
    end = "<|endoftext|>"
    ends = {"bos_token": end, "eos_token": end, "pad_token": end, "unk_token": end}
    return ends | {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "add_prefix_space": False,
        "errors": "replace",
        "model_max_length": 1024,
        "return_attention_mask": False,
    }


def _write_weights(folder: Path, tensors: Tensors) -> None:
    shards = _shards(tensors)
    if len(shards) == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    files: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        files |= dict.fromkeys(shard, name)
    size = sum(one.nbytes for one in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    (folder / _INDEX).write_text(json.dumps(index), "utf-8")


def _shards(tensors: Tensors) -> list[Tensors]:
    """The tensors in order, in parts that fit into _SHARD_BYTES each."""
    shards: list[Tensors] = [{}]
    filled = 0
    for name in sorted(tensors):
        filled += tensors[name].nbytes
        if filled > _SHARD_BYTES and shards[-1]:
            shards.append({})
            filled = tensors[name].nbytes
        shards[-1][name] = tensors[name]
    return shards
