"""Emulation of quantized weights by ordinary ones: what a scheme loses, without a kernel that runs
it."""

from typing import Any

from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationMetadata,
    fake_quantize,
    forward_quantize,
)
from compressed_tensors.utils import update_offload_parameter
from llmcompressor.observers import Observer


def dequantize(model: Any) -> None:
    """Give every quantized Linear the weights that its kernel would see, and remove its scheme."""
    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is not None:
            rounded = forward_quantize(module, module.weight.data, "weight", scheme.weights)
            update_offload_parameter(module, "weight", rounded)
            QuantizationMetadata.clear_quantization(module)


def round_embedding(model: Any, weights: dict[str, Any]) -> None:
    """Round the embedding to nearest, as `weights` say, and with it the output projection, which is
    tied to it."""
    table = model.model.decoder.embed_tokens.weight.data
    args = QuantizationArgs(**weights)
    observer = Observer.load_from_registry("memoryless_minmax", base_name="weight", args=args)
    found = observer(table).get_qparams()
    table.copy_(fake_quantize(table, found["scale"], found["zero_point"], args))
