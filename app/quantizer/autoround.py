"""AutoRound for Whisper's layers: llm-compressor and auto_round know text decoders alone."""

import inspect
from typing import Any

import torch
from auto_round.compressors.orchestrator import CompressionOrchestrator
from compressed_tensors.utils import patch_attr
from llmcompressor.modifiers.autoround import AutoRoundModifier
from pydantic import PrivateAttr
from transformers.models.whisper.modeling_whisper import WhisperDecoderLayer

Inputs = list[tuple[tuple[torch.Tensor, ...], dict[str, Any]]]  # a layer's, of each clip

_FLOAT = {"bits": 16, "act_bits": 16, "data_type": "float", "act_data_type": "float"}


class WhisperAutoRound(AutoRoundModifier):
    """Tunes both of Whisper's stacks by AutoRound. `losses` are the layers' after tuning."""

    _losses: list[tuple[str, float]] = PrivateAttr(default_factory=list)

    @property
    def losses(self) -> list[tuple[str, float]]:
        """Each layer's mean squared error of its output, with quantized layers before it."""
        return self._losses

    def input_capture_hook(self, module: Any, args: Any, kwargs: Any) -> None:
        # auto_round keeps one clip's positional inputs for all; the encoder's output is one.
        named = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        named |= named.pop("kwargs", {})
        super().input_capture_hook(module, (named.pop("hidden_states"),), named)

    def apply_autoround(self, state: Any, modules: Any) -> None:
        if any(isinstance(m, WhisperDecoderLayer) and m.self_attn.layer_idx == 0 for m in modules):
            self._q_input = None  # the encoder's output is not the decoder's input
        layers = [m._tmp_name for m in modules if self._is_decoding_layer(m)]
        tune = CompressionOrchestrator.quantize_block

        def keeping_loss(*args: Any, **kwargs: Any) -> Any:
            quantized, reference = tune(*args, **kwargs)
            self._losses.append((layers[0], _mean_squared_error(quantized, reference)))
            return quantized, reference

        with patch_attr(CompressionOrchestrator, "quantize_block", keeping_loss):
            super().apply_autoround(state, modules)

    # llm-compressor looks for targets by their names within a layer, where ours are whole names.
    def _match_autoround_targets(self, model: Any) -> set[Any]:
        return {m for m in model.modules() if hasattr(m, "quantization_scheme")}

    def _build_layer_config_for_autoround(self, wrapped_model: Any) -> dict[str, dict[str, Any]]:
        config: dict[str, dict[str, Any]] = super()._build_layer_config_for_autoround(wrapped_model)
        for name, module in wrapped_model.named_modules():
            if isinstance(module, torch.nn.Linear) and not hasattr(module, "quantization_scheme"):
                # Told to ignore `fc1` by name, auto_round 0.15.1 looks for `fc1.` and rounds it.
                config[name] = dict(_FLOAT)
        return config

    def _pad_captured_inputs(self, captured_inputs: Inputs) -> tuple[Inputs, None]:
        """Fill short texts up with repetitions of their own tokens.

        A copy sees what its original sees, so its output is its original's. auto_round 0.15.1 does
        not read the mask that llm-compressor gives it, and would tune a layer to padding.
        """
        longest = max(hidden.shape[1] for (hidden,), _ in captured_inputs)
        filled = []
        for (hidden,), named in captured_inputs:
            rows = torch.arange(longest) % hidden.shape[1]
            mask = named["attention_mask"]
            if mask is not None:  # (batch, heads, queries, keys)
                keys = (0, longest - mask.shape[3])
                unseen = torch.finfo(mask.dtype).min
                mask = torch.nn.functional.pad(mask[:, :, rows], keys, value=unseen)
            filled.append(((hidden[:, rows],), named | {"attention_mask": mask}))
        return filled, None


def _mean_squared_error(several: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    with torch.no_grad():
        pairs = zip(several, expected, strict=True)
        errors = [float(torch.mean((a.float() - b.float()) ** 2)) for a, b in pairs]
    return sum(errors) / len(errors)
