"""The adapter that applies the rules to vLLM's logits, in the engine's process (model runner
V1)."""

from pathlib import Path
from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from app.models.whisper_vllm.rules import Allow, WindowRules, forced_steps, next_step
from app.models.whisper_vllm.tokens import SpecialTokens

EXTRA_ARG = "marlinscribe"  # the key in SamplingParams.extra_args that carries a request's rules


class WhisperLogitsProcessor(AdapterLogitsProcessor):
    """Gives each request that carries rules a processor of its own."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self._tokens = SpecialTokens.load(Path(vllm_config.model_config.model))
        self._suppressed = torch.tensor(self._tokens.suppressed, device=device)
        at_begin = self._tokens.suppressed + self._tokens.suppressed_at_begin
        self._suppressed_at_begin = torch.tensor(at_begin, device=device)

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Any:
        asked = (params.extra_args or {}).get(EXTRA_ARG)
        if asked is None:
            return None
        rules = WindowRules(**asked)
        forced = forced_steps(self._tokens, rules)

        def apply(generated: list[int], logits: torch.Tensor) -> torch.Tensor:
            return self._apply(forced, generated, logits, rules.frames)

        return apply

    def _apply(
        self,
        forced: list[tuple[int, ...]],
        generated: list[int],
        row: torch.Tensor,
        frames: int = 0,
    ) -> torch.Tensor:
        """Mask one request's logits, shape (vocabulary,), in place."""
        step = next_step(self._tokens, forced, generated, frames)
        if isinstance(step, Allow):
            # The likeliest alone: at a temperature above 0 a language would be drawn by lot.
            allowed = row[list(step.ids)]
            allowed.masked_fill_(allowed < allowed.max(), -torch.inf)
            row.fill_(-torch.inf)
            row[list(step.ids)] = allowed
            return row
        row[self._suppressed_at_begin if step.begin else self._suppressed] = -torch.inf
        row[self._tokens.timestamps.stop :] = -torch.inf  # padding of the vocabulary
        for banned in step.ranges:
            row[banned.start : banned.stop] = -torch.inf
        if step.timestamp_if_likelier:
            stamps = self._tokens.timestamps
            text = row[: stamps.start]
            # A mask and not an `if`, which would make the processor wait for the card.
            text.masked_fill_(row[stamps.start : stamps.stop].logsumexp(0) > text.max(), -torch.inf)
        return row
