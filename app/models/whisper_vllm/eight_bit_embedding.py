"""Whisper's embedding in eight bits, and with it the output projection, which is the same matrix.

vLLM's Whisper has it in 16 bits, whatever the checkpoint's scheme. Beside layers of eight bits that
is half of whisper-base's bytes, and the largest matrix that a token reads.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.nn import functional
from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import (
    CompressedTensorsLinearMethod,
)
from vllm.model_executor.layers.quantization.compressed_tensors.schemes import (
    CompressedTensorsW8A8Int8,
)

from app.models.whisper_vllm.embedding_format import SCALE, SMOOTHING

Named = Iterable[tuple[str, torch.Tensor]]


class EightBitEmbedding(torch.nn.Module):  # type: ignore[misc]  # untyped
    """Looks tokens up in rows of eight bits, each with a scale of its own."""

    def __init__(self, weight: torch.nn.Parameter, dtype: torch.dtype) -> None:
        """weight: shape (vocabulary, width), another module's too."""
        super().__init__()
        vocabulary, width = weight.shape
        self.weight = weight
        self.weight_scale = _parameter(torch.empty(vocabulary, 1, dtype=dtype))
        self.smoothing = _parameter(torch.empty(width, dtype=dtype))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens' rows, shape (tokens, width)."""
        scales = functional.embedding(tokens, self.weight_scale)
        return functional.embedding(tokens, self.weight) * scales / self.smoothing


class _Smoothed(CompressedTensorsLinearMethod):  # type: ignore[misc]  # untyped
    """Multiplies by a module's scheme what its smoothing has made smaller."""

    def apply(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        return super().apply(layer, x / layer.smoothing, bias)


class EightBitProjection(torch.nn.Module):  # type: ignore[misc]  # untyped
    """Projects onto the vocabulary through the kernel that vLLM chooses for W8A8."""

    tp_size = 1  # vLLM asks how many devices share it

    def __init__(self, vocabulary: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.scheme = CompressedTensorsW8A8Int8(
            "channel", is_static_input_scheme=False, input_symmetric=True
        )
        self.quant_method = _Smoothed(None)  # a whole checkpoint's config is not needed here
        self.scheme.create_weights(self, [vocabulary], width, dtype, weight_loader=_load)
        self.smoothing = _parameter(torch.empty(width, dtype=dtype))


def in_eight_bits(model: Any) -> None:
    """Give a vLLM Whisper an embedding and an output projection of eight bits, without weights."""
    config, dtype = model.config, model.dtype
    model.proj_out = EightBitProjection(config.vocab_size, config.d_model, dtype)
    model.model.decoder.embed_tokens = EightBitEmbedding(model.proj_out.weight, dtype)


def shared(weights: Named, projection: EightBitProjection) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield weights as they come; the projection takes the embedding's scales too."""
    own = {SCALE: "weight_scale", SMOOTHING: "smoothing"}
    for name, tensor in weights:
        if name in own:
            _load(getattr(projection, own[name]), tensor)
        yield name, tensor


def _load(parameter: torch.nn.Parameter, tensor: torch.Tensor) -> None:
    parameter.data.copy_(tensor)


def _parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)
