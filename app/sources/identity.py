"""The identity of a checkpoint: the same for one model, whatever files it lies in.

OpenAI's smaller models are float32 on the hub, of numbers that are exactly float16, as others store
them. So a tensor is hashed by its float16 bits where those are exact, and by its own otherwise.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BadSource
from app.files import file_facts, write_json
from app.models.whisper_vllm.text import load_tokenizer
from app.models.whisper_vllm.tokens import SpecialTokens
from app.sources.weights import Array
from app.tensor_files import TensorHeader, read_headers

_CHUNK = 2**22  # numbers at once
_TIED = "proj_out.weight"  # the embedding, which some files hold twice
_NOT_IN_TENSORS = (
    "encoder_attention_heads",
    "decoder_attention_heads",
    "activation_function",
    "quantization_config",
)
_STORED = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def identity_of(folder: Path) -> dict[str, str]:
    """Hash what is read of a checkpoint in Hugging Face's layout: the tensors, the words that
    token ids stand for, and the rules of decoding. Blocking: all weights are read.

    Raises ValueError, OSError, BadSource.
    """
    tokens = SpecialTokens.load(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return {
        "weights": _digest(sorted(_tensors(folder))),
        "vocabulary": _digest(_words(folder, tokens.end_of_text)),
        "rules": _digest([asdict(tokens), {name: config.get(name) for name in _NOT_IN_TENSORS}]),
    }


def kept_identity(folder: Path, cache: Path | None) -> dict[str, str]:
    """Return a folder's identity as the cache has it for files of these sizes and times, or find
    and keep it. Blocking. Raises BadSource."""
    facts = [file_facts(path) for path in sorted(folder.iterdir()) if path.is_file()]
    kept = cache and cache / "sources" / "identities" / f"{_digest(facts)[:32]}.json"
    if kept and (known := _read(kept)):
        return known
    try:
        found = identity_of(folder)
    except (ValueError, OSError) as error:
        raise BadSource(f"{folder} cannot be read: {error}.", "Get it again.") from error
    if kept:
        with suppress(OSError):  # then it is found again the next time
            write_json(kept, found)
    return found


def _read(path: Path) -> dict[str, str] | None:
    try:
        known: dict[str, str] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return known


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _words(folder: Path, end: int) -> list[str | None]:
    """The text tokens in order. Merges follow from it: a token's id is its merge's rank."""
    tokenizer = load_tokenizer(folder)
    return [tokenizer.id_to_token(i) for i in range(end)]


def _tensors(folder: Path) -> Iterator[tuple[str, list[int], str, str]]:
    """Every tensor's name, shape, type and hash."""
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        data = np.memmap(path, np.uint8, "r")
        for name, header in read_headers(path).items():
            if name != _TIED:
                yield name, list(header.shape), *_hash(data[header.begin : header.end], header)
    if not files:
        yield from _torch_tensors(folder)


def _torch_tensors(folder: Path) -> Iterator[tuple[str, list[int], str, str]]:
    """Of a folder in torch's own format, by its unpickler that makes nothing but tensors."""
    import torch  # seconds

    for path in sorted(folder.glob("pytorch_model*.bin")):
        for name, tensor in torch.load(path, "cpu", weights_only=True, mmap=True).items():
            if name != _TIED:
                own = str(tensor.dtype).removeprefix("torch.")
                header = TensorHeader(_SHORT.get(own, own), tuple(tensor.shape), 0, tensor.nbytes)
                data = tensor.contiguous().flatten().view(torch.uint8).numpy()
                yield name, list(header.shape), *_hash(data, header)


_SHORT = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def _hash(data: Array, header: TensorHeader) -> tuple[str, str]:
    """The type and hash of a tensor's bytes: float16's where that is exact."""
    if header.dtype != "F16" and (half := _half_hash(data, header.dtype)):
        return "F16", half
    return header.dtype, hashlib.sha256(data.data).hexdigest()


def _half_hash(data: Array, dtype: str) -> str | None:
    """The hash of the numbers as float16, or None where one of them is not."""
    if dtype not in ("F32", "F64", "BF16"):
        return None
    found = hashlib.sha256()
    for numbers in _chunks(data, dtype):
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16)
        if not np.array_equal(half.astype(numbers.dtype), numbers, equal_nan=True):
            return None
        found.update(half.tobytes())
    return found.hexdigest()


def _chunks(data: Array, dtype: str) -> Iterator[Array]:
    """The numbers of a tensor's bytes in order, as numpy knows them."""
    stored = data.view("<u2" if dtype == "BF16" else _STORED[dtype])
    for start in range(0, len(stored), _CHUNK):
        part = stored[start : start + _CHUNK]
        # bfloat16 is the upper half of a float32.
        yield (part.astype("<u4") << 16).view("<f4") if dtype == "BF16" else part
