"""The identity of a checkpoint: the same for one model, whatever files it lies in.

OpenAI's smaller models are float32 on the hub, of numbers that are exactly float16, as others store
them. So a tensor is hashed by its float16 bits where those are exact, and by its own otherwise.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
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
    if known := known_identity(folder, cache):
        return known
    try:
        found = identity_of(folder)
    except (ValueError, OSError) as error:
        raise BadSource(f"{folder} cannot be read: {error}.", "Get it again.") from error
    if cache:
        with suppress(OSError):  # then it is found again the next time
            write_json(_kept(folder, cache), {"folder": str(folder), "identity": found})
    return found


def known_identity(folder: Path, cache: Path | None) -> dict[str, str] | None:
    """Return a folder's identity if the cache has it. Blocking."""
    known = None
    with suppress(OSError):  # there is no folder
        known = _read(_kept(folder, cache)) if cache else None
    return known[1] if known else None


def of_others(cache: Path, gone: Collection[Path]) -> list[Path]:
    """The files that hold identities of folders that are gone, are among `gone`, or have changed,
    and those that cannot be read."""
    files = sorted(_root(cache).glob("*.json"))
    return [path for path in files if not _holds(path, cache, gone)]


def _holds(path: Path, cache: Path, gone: Collection[Path]) -> bool:
    known = _read(path)
    with suppress(OSError):
        return known is not None and known[0] not in gone and _kept(known[0], cache) == path
    return False


def _root(cache: Path) -> Path:
    return cache / "sources" / "identities"


def _kept(folder: Path, cache: Path) -> Path:
    """Where the identity of a folder as it is now is kept. Raises OSError."""
    facts = [file_facts(path) for path in sorted(folder.iterdir()) if path.is_file()]
    return _root(cache) / f"{_digest(facts)[:32]}.json"


def _read(path: Path) -> tuple[Path, dict[str, str]] | None:
    """A folder and its identity, or None where the file is absent or another version's."""
    try:
        known = json.loads(path.read_text("utf-8"))
        return Path(known["folder"]), dict(known["identity"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


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
