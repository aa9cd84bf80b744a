"""Reading of CTranslate2's Whisper folders, which faster-whisper takes.

A `model.bin` is, little-endian: the format's number, the spec's name and revision, the number of
variables; for each its name, rank, dimensions, type, bytes and data; then aliases. Strings are
their length in 16 bits, and text with a closing NUL (CTranslate2 `src/models/model.cc`).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from app.errors import BadSource
from app.sources.weights import Array, Tensors, Weights

_FORMAT = 6  # since CTranslate2 2.0 of 2021
_SPEC = "WhisperSpec"
_FLOATS: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 4: np.dtype("<f2")}
_INTEGERS: dict[int, np.dtype[Any]] = {1: np.dtype("i1"), 2: np.dtype("<i2"), 3: np.dtype("<i4")}
_ITEM_BYTES = {kind: dtype.itemsize for kind, dtype in (_FLOATS | _INTEGERS).items()} | {5: 2}
_AGAIN = (
    "Convert the model again: ct2-transformers-converter --model NAME --output_dir FOLDER "
    "--quantization float16 --copy_files tokenizer.json."
)


@dataclass(frozen=True)
class _Variable:
    kind: int
    shape: tuple[int, ...]
    offset: int  # bytes into the file

    @property
    def bytes(self) -> int:
        return prod(self.shape) * _ITEM_BYTES[self.kind]


def is_ctranslate2(folder: Path) -> bool:
    """Return whether a folder looks like CTranslate2's."""
    return (folder / "model.bin").is_file() and not any(folder.glob("*.safetensors"))


def read(path: Path) -> Weights:
    """Read a `model.bin`. The file is mapped and must outlive the tensors.

    Raises BadSource where it is damaged, of another architecture, or holds integers.
    """
    try:
        variables = _variables(path)
        size = path.stat().st_size
        if any(one.offset + one.bytes > size for one in variables.values()):
            raise BadSource(f"{path} ends early.", "Download or copy it again.")
        return _weights(path, variables)
    except (struct.error, UnicodeDecodeError, KeyError, ValueError, OSError) as error:
        raise BadSource(f"{path} is no whole CTranslate2 model ({error!r}).", _AGAIN) from error


def _variables(path: Path) -> dict[str, _Variable]:
    """The variables of a file by name, checked to be a Whisper's in floats."""
    with path.open("rb") as file:
        (number,) = _unpack(file, "I")
        if number != _FORMAT:
            raise BadSource(f"{path} has CTranslate2's format {number}, not {_FORMAT}.", _AGAIN)
        spec, _revision = _string(file), _unpack(file, "I")
        if spec != _SPEC:
            raise BadSource(f"{path} is a {spec}, not a Whisper.", "Point at a Whisper's folder.")
        (count,) = _unpack(file, "I")
        found = dict(_each(file, count))
    _refuse_integers(path, found)
    return found


def _each(file: BinaryIO, count: int) -> Iterator[tuple[str, _Variable]]:
    for _ in range(count):
        name = _string(file)
        (rank,) = _unpack(file, "B")
        shape = _unpack(file, f"{rank}I")
        kind, size = _unpack(file, "BI")
        one = _Variable(kind, shape, file.tell())
        if one.bytes != size:
            raise ValueError(f"{name} is {size} bytes, not {one.bytes}")
        yield name, one
        file.seek(size, 1)


def _refuse_integers(path: Path, variables: dict[str, _Variable]) -> None:
    kinds = {one.kind for one in variables.values() if one.shape}
    if kinds - _FLOATS.keys():
        what = "bfloat16" if 5 in kinds else "quantized to integers"
        raise BadSource(
            f"{path} is {what}: what is lost of its weights cannot be had back.",
            "Take the float16 one. " + _AGAIN,
        )


def _weights(path: Path, variables: dict[str, _Variable]) -> Weights:
    data = np.memmap(path, np.uint8, "r")

    def view(one: _Variable) -> Array:
        dtype = (_FLOATS | _INTEGERS)[one.kind]
        return data[one.offset : one.offset + one.bytes].view(dtype).reshape(one.shape)

    tensors: Tensors = {}
    for name, one in variables.items():
        if one.shape and name != "decoder/projection/weight":  # which is the embedding
            tensors |= _renamed(name, view(one))
    heads = (int(view(variables[f"{side}/num_heads"])) for side in ("encoder", "decoder"))
    return Weights(tensors, *heads)


_PLAIN = {
    "conv1/weight": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/weight": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "position_encodings/encodings": "embed_positions.weight",
    "embeddings/weight": "embed_tokens.weight",
}
_BLOCKS = {"self_attention": "self_attn", "attention": "encoder_attn"}
_NORMS = {
    "layer_norm": "layer_norm",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
}
_PARTS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
# What a fused matrix holds, from the top: the projections of one attention.
_FUSED = {
    ("self_attention", "0"): "qkv",
    ("self_attention", "1"): "o",
    ("attention", "0"): "q",
    ("attention", "1"): "kv",
    ("attention", "2"): "o",
}
_LINEAR = re.compile(r"(self_attention|attention|ffn)/linear_(\d)/(weight|bias)")
_NORM = re.compile(r"(.*layer_norm)/(gamma|beta)")


def _renamed(name: str, tensor: Array) -> Tensors:
    """Hugging Face's tensors that one of CTranslate2's is. Raises KeyError for an unknown one."""
    side, _, rest = name.partition("/")
    prefix = f"model.{side}."
    if layer := re.fullmatch(r"layer_(\d+)/(.+)", rest):
        prefix, rest = f"{prefix}layers.{layer[1]}.", layer[2]
    if rest in _PLAIN:
        return {prefix + _PLAIN[rest]: tensor}
    if norm := _NORM.fullmatch(rest):
        return {f"{prefix}{_NORMS[norm[1]]}.{_PARTS[norm[2]]}": tensor}
    linear = _LINEAR.fullmatch(rest)
    if linear is None:
        raise KeyError(name)
    block, number, part = linear.groups()
    if block == "ffn":
        return {f"{prefix}fc{int(number) + 1}.{part}": tensor}
    return _parted(f"{prefix}{_BLOCKS[block]}.", _FUSED[block, number], part, tensor)


def _parted(prefix: str, fused: str, part: str, tensor: Array) -> Tensors:
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
    parts = zip(fused, np.split(tensor, len(fused)), strict=True)
    # Whisper's keys have no bias; a fused matrix must have one for them, and has zeros.
    return {f"{prefix}{names[n]}.{part}": p for n, p in parts if (n, part) != ("k", "bias")}


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "H")
    return file.read(length)[:-1].decode()
