"""Sizes of weights, read from the headers of safetensors files."""

import re
from collections.abc import Iterator
from pathlib import Path

from app.tensor_files import read_headers

# The encoder's output is turned into keys and values once a window, not once a token.
_ONCE_A_WINDOW = re.compile(r"\.encoder_attn\.[kv]_proj\.")
_LOOKED_UP = re.compile(r"\.embed_positions\.")  # a row of it
_LOADED = {"F32": 2, "F64": 4}  # as 16-bit numbers, by how much smaller


def weight_bytes(folder: Path) -> int:
    """What the weight files weigh on disk."""
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def bytes_per_token(folder: Path) -> int:
    """Bytes of weights that are read to decode one token of one window: what decoding costs where
    memory bandwidth decides. They are counted as they are loaded: engines take 32-bit weights as
    16-bit ones. Keys and values come on top, the same for every scheme."""
    sizes = dict(_tensors(folder))
    output = {"proj_out.weight", "model.decoder.embed_tokens.weight"}
    read = sum(
        size
        for name, size in sizes.items()
        if name.startswith("model.decoder.")
        and name not in output
        and not _ONCE_A_WINDOW.search(name)
        and not _LOOKED_UP.search(name)
    )
    # The output projection is the embedding, which some files hold twice.
    return read + max((sizes[name] for name in output & sizes.keys()), default=0)


def _tensors(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in read_headers(path).items():
            yield name, tensor.bytes // _LOADED.get(tensor.dtype, 1)
