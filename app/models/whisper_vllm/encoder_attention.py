"""A Whisper's encoder on a processor: positions are compared in eight bits where its layers'
activations have eight bits too."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.model_executor.layers.quantization.compressed_tensors.schemes import (
    CompressedTensorsW8A8Int8,
)

from app.models.whisper_vllm.encoder_kernels import TASK_ROWS, Attend, Pack, attend, pack
from app.models.whisper_vllm.encoder_vectors import SIZE, TILE
from app.models.whisper_vllm.openmp import on_all_threads


def compare_in_eight_bits(encoder: Any) -> None:
    """Have those layers of a loaded WhisperEncoder, in bfloat16, whose activations have eight bits
    compare positions in eight bits."""
    room = Room()
    for layer in encoder.layers:
        attention = layer.self_attn
        scheme = getattr(attention.qkv_proj, "scheme", None)
        if isinstance(scheme, CompressedTensorsW8A8Int8) and attention.head_dim == SIZE:
            attention.attn = EightBitScores(attention.num_heads, attention.scaling, room)


class EightBitScores(torch.nn.Module):  # type: ignore[misc]  # untyped
    """Stands where vLLM's WhisperEncoderAttention stood."""

    is_kernel = True  # told among the engine's

    def __init__(self, heads: int, scale: float, room: "Room") -> None:
        super().__init__()
        self._heads, self._scale, self._room = heads, scale, room

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return what positions attend to. All: bfloat16, shape (windows, positions, width) or
        (positions, width)."""
        *windows, length, width = query.shape
        stride = query.stride(-2)
        if any(_stride(one) != stride for one in (query, key, value)):
            query, key, value, stride = *(one.contiguous() for one in (query, key, value)), width
        output = torch.empty(query.shape, dtype=query.dtype)
        regions, padded = int(np.prod(windows)) * self._heads, -(-length // TILE) * TILE
        keys, scales, values = self._room.of(regions * padded)
        layer = {
            "stride": stride, "heads": self._heads, "length": length, "padded": padded,
            "keys": keys, "key_scales": scales, "values": values,
        }  # fmt: skip
        packing = Pack(tasks=regions, new_keys=key.data_ptr(), new_values=value.data_ptr(), **layer)
        on_all_threads(pack.address, packing)
        attending = Attend(
            tasks=regions * -(-length // TASK_ROWS),
            query=query.data_ptr(),
            output=output.data_ptr(),
            scale=self._scale,
            **layer,
        )
        on_all_threads(attend.address, attending)
        return output


class Room:
    """Where keys and values are packed, layer after layer in the same place."""

    def __init__(self) -> None:
        self._positions = 0
        self._arrays: tuple[npt.NDArray[np.uint8], ...] = ()

    def of(self, positions: int) -> tuple[int, ...]:
        """Return the addresses of keys, their scales and values, for so many positions of a
        head."""
        if positions > self._positions:
            sizes = positions * SIZE, positions * 4, positions * SIZE * 2
            # Zeros: what lies behind the last position of a tile is multiplied too.
            self._arrays = tuple(np.zeros(size + 64, np.uint8) for size in sizes)
            self._positions = positions
        return tuple(-(-one.ctypes.data // 64) * 64 for one in self._arrays)


def _stride(rows: torch.Tensor) -> int:
    """Return how many numbers lie between two rows of all windows; 0 where that varies."""
    ends_meet = rows.dim() == 2 or rows.stride(0) == rows.shape[1] * rows.stride(1)
    return int(rows.stride(-2)) if ends_meet and rows.stride(-1) == 1 else 0
