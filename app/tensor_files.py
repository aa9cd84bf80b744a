"""Headers of safetensors files: what tensors a file holds, and where."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_HEADER_BYTES = 100_000_000  # as the format's own reader has it


@dataclass(frozen=True)
class TensorHeader:
    """A tensor of a file; `begin` and `end` are bytes from the file's start."""

    dtype: str  # F32, F16, BF16, I32, …
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def bytes(self) -> int:
        return self.end - self.begin


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Read a file's header. Raises ValueError where it is no whole safetensors file, OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MOST_HEADER_BYTES):
                raise ValueError("its header is longer than it")
            entries = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            found = {name: _header(entry, 8 + length) for name, entry in entries.items()}
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if any(one.end > size for one in found.values()):
        raise ValueError(f"{path} ends early")
    return found


def _header(entry: dict[str, Any], start: int) -> TensorHeader:
    begin, end = entry["data_offsets"]
    return TensorHeader(entry["dtype"], tuple(entry["shape"]), start + begin, start + end)
