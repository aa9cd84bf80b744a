"""AWQ for Whisper: which weights may be scaled against which without changing the float model.

A norm's channels are divided by what the Linears behind it are multiplied with, and v_proj's by
what out_proj's are: attention only mixes values over time. fc2 is left alone, for before it lies
GELU, and GELU(x / s) * s is not GELU(x). So are cross-attention's k_proj and v_proj, for they read
the encoder's last norm, which all decoder layers share.
"""

import re
from typing import Any

import torch
from compressed_tensors.utils import patch_attr
from llmcompressor.modifiers.transform.awq import AWQMapping, AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache

# A candidate scaling's error is a mean over frames: neighbours are alike, and all of all clips'
# would be gigabytes. On the demo every search ended where it ends with all frames.
_FRAMES = 128


def _mappings() -> list[AWQMapping]:
    before = {
        "self_attn_layer_norm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attn.v_proj": ["self_attn.out_proj"],
        "final_layer_norm": ["fc1"],
    }
    across = {
        "encoder_attn_layer_norm": ["encoder_attn.q_proj"],
        "encoder_attn.v_proj": ["encoder_attn.out_proj"],
    }
    return [
        AWQMapping(_named(stack, smooth), [_named(stack, one) for one in balance])
        for stack, pairs in (("encoder", before), ("decoder", before | across))
        for smooth, balance in pairs.items()
    ]


def _named(stack: str, module: str) -> str:
    return rf"re:.*\.{stack}\.layers\.\d+\.{re.escape(module)}$"


class WhisperAWQ(AWQModifier):
    """Runs AWQ with Whisper's mappings. `losses` are the least errors of its searches."""

    @property
    def losses(self) -> list[tuple[str, float]]:
        """The mean squared error of each search, by the name of what was smoothed."""
        return [(found["layer_name"], found["best_error"]) for found in self._error_metrics]

    def _set_resolved_mappings(self, model: torch.nn.Module) -> None:
        super()._set_resolved_mappings(model)
        # Where what is scaled by is quantized and what it is scaled for is left alone, there is
        # nothing to gain, and llm-compressor 0.14 divides by the number of none.
        found: list[Any] = self._resolved_mappings
        found[:] = [
            one
            for one in found
            if any(hasattr(layer, "quantization_scheme") for layer in one.balance_layers)
        ]

    def _run_samples(self, module: Any) -> list[torch.Tensor]:
        """Return the outputs of `module` for each clip, of some frames."""
        outputs = []
        for inputs in self._parent_args_cache[module]:
            if isinstance(module, torch.nn.Linear):
                output = module(_thinned(inputs["input"]))
            else:  # attention, which needs all of its input
                output = _thinned(module(**inputs)[0])
            outputs.append(output.float())
        return outputs

    def _apply_smoothing(self, model: Any) -> None:
        if torch.accelerator.is_available():
            super()._apply_smoothing(model)
        else:  # it pins memory for a card, and there is none
            with patch_attr(IntermediatesCache, "pin_memory", lambda *_: None):
                super()._apply_smoothing(model)


def _thinned(frames: torch.Tensor) -> torch.Tensor:
    return frames[:, :: max(1, frames.shape[1] // _FRAMES)]


def whisper_awq() -> WhisperAWQ:
    return WhisperAWQ(mappings=_mappings(), offload_device=torch.device("cpu"))
