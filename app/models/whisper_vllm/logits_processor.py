"""The adapter that applies the rules to vLLM's logits, in the engine's process (model runner
V1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from app.models.whisper_vllm.rules import Allow, Ban, WindowRules, forced_steps, next_step
from app.models.whisper_vllm.tokens import SpecialTokens

EXTRA_ARG = "marlinscribe"  # the key in SamplingParams.extra_args that carries a request's rules


@dataclass(frozen=True)
class _Request:
    """One request's state. generated: vLLM's own list of the ids so far, which it appends to."""

    forced: list[tuple[int, ...]]
    frames: int
    generated: list[int]


class WhisperLogitsProcessor(LogitsProcessor):
    """Applies the rules of all requests that carry some, in one pass over the batch."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._tokens = SpecialTokens.load(Path(vllm_config.model_config.model))
        self._device = device
        self._suppressed = _ids(self._tokens.suppressed, device)
        self._suppressed_at_begin = _ids(self._tokens.suppressed_at_begin, device)
        self._requests: dict[int, _Request] = {}  # by row

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        """Take a BatchUpdate: which requests came, left, and moved to another row."""
        process_dict_updates(self._requests, batch_update, self._request)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits, shape (requests, vocabulary), in place."""
        allowed: dict[int, Allow] = {}
        banned: dict[int, Ban] = {}
        for row, one in self._requests.items():
            step = next_step(self._tokens, one.forced, one.generated, one.frames)
            if isinstance(step, Allow):
                allowed[row] = step
            else:
                banned[row] = step
        for row, allow in allowed.items():
            _allow(logits[row], list(allow.ids))
        if len(banned) == len(logits):
            self._ban(logits, banned)
        elif banned:
            rows = torch.tensor(list(banned), device=self._device)
            part = logits[rows]
            self._ban(part, dict(enumerate(banned.values())))
            logits[rows] = part
        return logits

    def _request(
        self, params: SamplingParams, _: list[int] | None, generated: list[int]
    ) -> _Request | None:
        asked = (params.extra_args or {}).get(EXTRA_ARG)
        if asked is None:
            return None
        rules = WindowRules(**asked)
        return _Request(forced_steps(self._tokens, rules), rules.frames, generated)

    def _ban(self, logits: torch.Tensor, steps: Mapping[int, Ban]) -> None:
        """Mask logits of which every row has its step."""
        stamps = self._tokens.timestamps
        logits.index_fill_(1, self._suppressed, -torch.inf)
        logits[:, stamps.stop :] = -torch.inf  # padding of the vocabulary
        for row, step in steps.items():
            if step.begin:
                logits[row, self._suppressed_at_begin] = -torch.inf
            for banned in step.ranges:
                logits[row, banned.start : banned.stop] = -torch.inf
        choosing = [row for row, step in steps.items() if step.timestamp_if_likelier]
        if choosing:
            self._ban_text_where_timestamps_are_likelier(logits, choosing)

    def _ban_text_where_timestamps_are_likelier(
        self, logits: torch.Tensor, rows: list[int]
    ) -> None:
        stamps = self._tokens.timestamps
        text = logits[:, : stamps.start]
        likelier = logits[:, stamps.start : stamps.stop].logsumexp(1) > text.amax(1)
        chosen = torch.zeros(len(logits), dtype=torch.bool)
        chosen[rows] = True
        likelier &= chosen.to(self._device, non_blocking=True)
        # A sum and not an `if`, which would make the processor wait for the card. (A mask of rows
        # takes ten times as long on a processor.)
        text.add_(torch.where(likelier, -torch.inf, 0.0)[:, None])


def _ids(several: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(several, dtype=torch.int64, device=device)


def _allow(row: torch.Tensor, ids: list[int]) -> None:
    """Leave one request the likeliest of some ids: at a temperature above 0 a language would be
    drawn by lot."""
    allowed = row[ids]
    allowed.masked_fill_(allowed < allowed.max(), -torch.inf)
    row.fill_(-torch.inf)
    row[ids] = allowed
