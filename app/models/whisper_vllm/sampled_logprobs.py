"""What vLLM's sampler tells of a step in which nobody asks for candidates."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from vllm.v1.outputs import LogprobsTensors


def tell_sampled_alone(sampler: Any) -> None:
    """Have a sampler give a sampled token's log-probability, and not its rank, where no window of
    the step has candidates to be weighed: that is another pass over all logits, and a loop over the
    windows (vllm/v1/sample/sampler.py, gather_specific_token_logprobs)."""
    with_candidates = sampler.gather_specific_token_logprobs

    def gathered(
        logprobs: torch.Tensor, candidates: Mapping[int, Sequence[int]], sampled: torch.Tensor
    ) -> Any:
        """logprobs: shape (windows, vocabulary). candidates: by window. sampled: shape
        (windows,)."""
        if any(candidates.values()):
            return with_candidates(logprobs, candidates, sampled)
        tokens = sampled.unsqueeze(-1)
        unranked = torch.zeros_like(sampled)
        return LogprobsTensors(tokens.to(torch.int32), logprobs.gather(-1, tokens), unranked)

    sampler.gather_specific_token_logprobs = gathered
