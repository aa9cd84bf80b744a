"""What the alignment heads attend to, recorded in the engine's worker while it decodes.

Nothing is computed a second time: the queries are those that chose the tokens, the keys those of
the window's prefill. What is recorded lies in buffers that are as long as a step's tokens, so that
copies into them can be part of a captured CUDA graph.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from app.models.whisper_vllm.alignment_heads import Head

NAME = "marlinscribe_words"  # the key in SamplingParams.extra_args that names a request's record
HEADS = "marlinscribe_heads"  # that in vLLM's additional_config which has the heads
_KEPT = 4  # records for each window that is decoded at once


class _Tap:
    """Keeps the queries and keys of a step, of some heads of one cross-attention layer, while it is
    open: also when a step is captured."""

    def __init__(self, attention: Any, heads: Sequence[int], rows: int, like: torch.Tensor) -> None:
        self._heads = torch.tensor(heads, device=like.device)
        shape = (rows, len(heads), attention.head_size)
        self.queries = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.is_open = True
        self._keys: torch.Tensor | None = None
        self._forward = attention.impl.forward
        attention.impl.forward = self._recorded

    def _recorded(
        self, layer: Any, query: torch.Tensor, key: torch.Tensor | None, *others: Any, **named: Any
    ) -> Any:
        """Stand for AttentionImpl.forward. query, key: shape (tokens, heads, head size)."""
        if self.is_open:
            torch.index_select(query, 1, self._heads, out=self.queries[: len(query)])
            self._keys = key
        return self._forward(layer, query, key, *others, **named)

    def keys(self, rows: slice) -> torch.Tensor | None:
        """Return some of the keys of all windows that the step encoded, which lie end to end; None
        where it encoded none."""
        keys = None if self._keys is None else self._keys[rows]
        return None if keys is None else torch.index_select(keys, 1, self._heads)

    def forget(self) -> None:
        self._keys = None


class _Record:
    """One window's: queries by position of the decoder's input, shape (positions, heads, head
    size), and keys by encoder frame, shape (frames, heads, head size), which lie in the machine's
    own memory: they are most of it."""

    def __init__(self, positions: int) -> None:
        self._positions = positions
        self.queries: torch.Tensor | None = None
        self.keys: torch.Tensor | None = None

    def add(self, first: int, queries: torch.Tensor) -> None:
        """Take the queries from position `first` on. A request that was preempted is decoded from
        the start again."""
        if self.queries is None:
            shape = (self._positions, *queries.shape[1:])
            self.queries = torch.zeros(shape, dtype=torch.float16, device=queries.device)
        self.queries[first : first + len(queries)] = queries

    def end(self) -> None:
        """Give up what it has of the device's memory."""
        if self.queries is not None:
            self.queries = self.queries.cpu()


class AttentionRecorder:
    """Records the windows whose requests ask for it, each until it is taken. Those that nobody
    takes make room for others after a while."""

    def __init__(self, model: Any, heads: Sequence[Head], *, rows: int, windows: int) -> None:
        """rows: the most tokens of a step. windows: the most that are decoded at once."""
        layers = sorted({layer for layer, _ in heads})
        attentions = {n: model.model.decoder.layers[n].encoder_attn.attn for n in layers}
        like = model.model.decoder.layer_norm.weight
        self._taps = [
            _Tap(attentions[n], [head for layer, head in heads if layer == n], rows, like)
            for n in layers
        ]
        self._positions = model.model.decoder.max_target_positions
        self._most = _KEPT * windows
        self._recording: dict[str, _Record] = {}  # by vLLM's name of the request
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def before_step(self, step: Any) -> None:
        """See by a SchedulerOutput whether anything is to be recorded. What is kept of new windows
        is all of a layer's keys, tens of megabytes."""
        for name, request in _named(step):
            self._begin(name, request)
        for tap in self._taps:
            tap.is_open = bool(self._recording)

    def after_step(self, batch: Any, step: Any, requests: Mapping[str, Any]) -> None:
        """Take what a step computed, by the batch and the SchedulerOutput that it had, and the
        state of all requests."""
        if self._recording and step.total_num_scheduled_tokens:
            self._take_rows(batch, step, requests)
        for tap in self._taps:
            tap.forget()
        for request in step.finished_req_ids:
            if record := self._recording.pop(request, None):
                record.end()

    def take(self, name: str, first: int, count: int, frames: int) -> dict[str, Any] | None:
        """Return what was recorded as `name`: the queries of `count` positions from `first` on and
        the keys of the window's first `frames`, both as 16-bit floats, shape (heads, count or
        frames, head size); None where it is not there any more."""
        record = self._records.pop(name, None)
        if record is None or record.queries is None or record.keys is None:
            return None
        queries, keys = record.queries[first : first + count], record.keys[:frames]
        return {
            "heads": queries.shape[1],
            "size": queries.shape[2],
            "queries": _bytes(queries),
            "keys": _bytes(keys),
        }

    def _begin(self, name: str, request: str) -> None:
        record = _Record(self._positions)
        self._recording[request] = self._records[name] = record
        while len(self._records) > self._most:
            self._records.popitem(last=False)

    def _take_rows(self, batch: Any, step: Any, requests: Mapping[str, Any]) -> None:
        row = encoded = 0
        for at, request in enumerate(batch.req_ids):
            count = step.num_scheduled_tokens[request]
            first = int(batch.num_computed_tokens_cpu[at])
            positions = encoder_positions(requests[request]) if first == 0 else 0
            if record := self._recording.get(request):
                rows = [tap.queries[row : row + count] for tap in self._taps]
                record.add(first, torch.cat(rows, dim=1))
                if first == 0:
                    record.keys = self._keys_of(slice(encoded, encoded + positions))
            row += count
            encoded += positions

    def _keys_of(self, rows: slice) -> torch.Tensor | None:
        """Return the keys of a window, by its place among all that the step encoded. Without them
        there are no times, but the engine goes on."""
        keys = [found for tap in self._taps if (found := tap.keys(rows)) is not None]
        whole = len(keys) == len(self._taps)
        return torch.cat(keys, dim=1).to("cpu", torch.float16) if whole else None


def _named(step: Any) -> Iterator[tuple[str, str]]:
    """Yield the names of a step's new requests that are to be recorded, and vLLM's own."""
    for new in step.scheduled_new_reqs:
        sampling = new.sampling_params
        if sampling and (name := (sampling.extra_args or {}).get(NAME)):
            yield name, new.req_id


def encoder_positions(request: Any) -> int:
    """Return how many encoder positions a request has, by its state (CachedRequestState)."""
    return sum(feature.mm_position.length for feature in request.mm_features)


def _bytes(tensor: torch.Tensor) -> bytes:
    """Return a tensor, shape (n, heads, size), as the bytes of one of shape (heads, n, size)."""
    array = tensor.to(torch.float16).transpose(0, 1).contiguous().cpu().numpy()
    return bytes(array.tobytes())
