"""A Whisper's cross-attention on a processor: its keys and values take eight bits each, and none of
vLLM's blocks."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.forward_context import get_forward_context
from vllm.v1.attention.ops.vit_attn_wrappers import apply_sdpa

from app.models.whisper_vllm.attention_kernels import TILE, Attend, Store, attend, store
from app.models.whisper_vllm.attention_recorder import encoder_positions
from app.models.whisper_vllm.openmp import on_all_threads

# Rows of a window from which on products of matrices, with what they were projected from, are
# faster than reading eight bits for each: a prompt's.
_MANY = 16
_Numbers = npt.NDArray[np.int64]


class CrossAttention:
    """Knows which request's window lies where: in the same place of each layer."""

    def __init__(self, runner: Any) -> None:
        """Take over the cross-attention of a model runner's loaded Whisper, before vLLM asks the
        layers for how many bytes they need blocks."""
        config, model = runner.vllm_config, runner.model
        windows = config.scheduler_config.max_num_seqs
        self._runner = runner
        self._free = list(range(windows))
        self._slots: dict[str, int] = {}  # by vLLM's name of the request
        self._lengths = np.zeros(windows, np.int64)  # of a slot's window, in positions
        self._seen: Any = None
        self._step: _Step | None = None
        vllms_layers = config.compilation_config.static_forward_context
        for layer in model.model.decoder.layers:
            vllms = layer.encoder_attn.attn
            del vllms_layers[vllms.layer_name]
            kept = _KeysAndValues(self, vllms, windows, model.config.max_source_positions)
            layer.encoder_attn.attn = _Attention(vllms, kept)

    def forget(self, requests: Iterable[str]) -> None:
        """Free the places of requests that are done, or that will be decoded anew."""
        for request in requests:
            if (slot := self._slots.pop(request, None)) is not None:
                self._free.append(slot)

    def step(self) -> "_Step | None":
        """Return the step that the model is in; None while vLLM only warms it up."""
        context = get_forward_context()
        if context is not self._seen:
            self._seen = context
            self._step = self._arranged(context.attn_metadata) if context.attn_metadata else None
        return self._step

    def _arranged(self, metadata: Any) -> "_Step":
        batch = self._runner.input_batch
        requests = batch.req_ids
        new = batch.num_computed_tokens_cpu[: len(requests)] == 0
        slots = np.array([self._slot(request) for request in requests], np.int64)
        for at in np.flatnonzero(new):
            self._lengths[slots[at]] = encoder_positions(self._runner.requests[requests[at]])
        starts = next(iter(metadata.values())).query_start_loc  # of any layer's self-attention
        return _Step(starts[: len(requests) + 1].numpy(), slots, new, self._lengths)

    def _slot(self, request: str) -> int:
        if request not in self._slots:
            self._slots[request] = self._free.pop()
        return self._slots[request]


class _Step:
    """What a step's rows attend to, the same in all layers.

    prompted: of each new window with many rows, these and its positions among those that are new.
    attend, store: what the kernels are told, of all other rows and of all new windows.
    """

    def __init__(
        self, starts: _Numbers, slots: _Numbers, new: npt.NDArray[np.bool_], lengths: _Numbers
    ) -> None:
        """starts: a window's first row, and behind the last one's all. new: whether it is encoded
        in this step. lengths: by slot."""
        counts, of_new = np.diff(starts), lengths[slots[new]]
        firsts = np.cumsum(of_new) - of_new
        rows, of_rows = np.repeat(slots, counts), np.repeat(lengths[slots], counts)
        self.prompted: list[tuple[slice, slice]] = []
        for at, first, length in zip(np.flatnonzero(new), firsts, of_new, strict=True):
            if counts[at] >= _MANY:
                several = slice(starts[at], starts[at + 1])
                self.prompted.append((several, slice(first, first + length)))
                of_rows[several] = 0
        self.rows, self.windows = len(rows), len(of_new)
        self._arrays = rows, slots[new], of_rows, of_new, firsts  # while their addresses are known
        self.attend = Attend(slots=_address(rows), lengths=_address(of_rows))
        self.store = Store(
            slots=_address(self._arrays[1]), lengths=_address(of_new), firsts=_address(firsts)
        )


class _KeysAndValues:
    """One layer's keys and values of all windows. `forward` stands for AttentionImpl's."""

    def __init__(self, windows: CrossAttention, vllms: Any, slots: int, positions: int) -> None:
        self._windows, self._scale = windows, vllms.impl.scale
        self._heads, self._size = vllms.num_heads, vllms.head_size
        self._tiles = -(-positions // TILE)
        shape = (slots, self._heads, self._tiles * TILE, self._size)
        self._arrays = (
            np.empty(shape, np.int8),
            np.empty(shape, np.int8),
            np.empty((slots, self._heads, 2, self._tiles * TILE), np.float32),
        )
        self._places = tuple(map(_address, self._arrays))

    def forward(
        self,
        _: Any,
        query: torch.Tensor,
        key: torch.Tensor | None,
        value: torch.Tensor | None,
        *__: Any,
        output: torch.Tensor,
    ) -> torch.Tensor:
        """Fill `output` with what rows attend to. query, output: shape (rows, heads, size); key,
        value: shape (positions, heads, size), of all windows that the step encoded, end to end."""
        step = self._windows.step()
        if step is None:
            return output.zero_()
        if key is not None and value is not None:
            self._store(step, key, value)
            for rows, positions in step.prompted:
                several = (query[rows], key[positions], value[positions])
                (output[rows],) = apply_sdpa(*(one[None] for one in several), scale=self._scale)
        query, given = query.contiguous(), step.attend
        given.query, given.output, given.scale = query.data_ptr(), output.data_ptr(), self._scale
        self._run(attend.address, given, query.dtype, step.rows * self._heads)
        return output

    def _store(self, step: _Step, keys: torch.Tensor, values: torch.Tensor) -> None:
        given = step.store
        given.new_keys, given.new_values = keys.data_ptr(), values.data_ptr()
        given.stride = keys.stride(0)
        tasks = step.windows * self._heads * self._tiles
        self._run(store.address, given, keys.dtype, tasks)

    def _run(self, kernel: int, given: Attend | Store, dtype: torch.dtype, tasks: int) -> None:
        given.keys, given.values, given.scales = self._places
        given.heads, given.positions, given.size = self._heads, self._tiles * TILE, self._size
        given.is_half = dtype == torch.bfloat16
        given.next, given.tasks = 0, tasks
        on_all_threads(kernel, given)


class _Attention(torch.nn.Module):
    """Stands where vLLM's Attention stood, with what others than vLLM ask of it."""

    kv_cache = None

    def __init__(self, vllms: Any, impl: _KeysAndValues) -> None:
        super().__init__()
        self.num_heads, self.head_size = vllms.num_heads, vllms.head_size
        self.layer_name, self.impl = vllms.layer_name, impl

    def forward(
        self, query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None
    ) -> torch.Tensor:
        """Return what rows attend to. query: shape (rows, width); key, value: shape (positions,
        width)."""
        heads = (self.num_heads, self.head_size)
        output = torch.empty_like(query)
        self.impl.forward(
            self,
            query.unflatten(-1, heads),
            None if key is None else key.unflatten(-1, heads),
            None if value is None else value.unflatten(-1, heads),
            output=output.unflatten(-1, heads),
        )
        return output


def _address(numbers: npt.NDArray[Any]) -> int:
    address: int = numbers.ctypes.data
    return address
