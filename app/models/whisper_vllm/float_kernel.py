"""A linear kernel for processors that vLLM has no 4-bit kernel for: those without AVX-512.

`cpu_gemm_wna16` is compiled for AVX-512 (and AMX) alone, but vLLM 0.32 chooses its kernel on any
x86 processor, and the first token ends the engine. There the weights are dequantized while they
are loaded, and multiplied as float32: on AVX2, which has no bfloat16 arithmetic, that is several
times as fast as bfloat16. The checkpoint stays as small on disk; in memory a weight takes 4 bytes.

vLLM loads this as a plugin in each of its processes (pyproject.toml, `vllm.general_plugins`).
"""

import torch
from vllm.model_executor.kernels import linear
from vllm.model_executor.kernels.linear import MPLinearKernel, MPLinearLayerConfig
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    unpack_quantized_values_into_int32,
)
from vllm.platforms import PlatformEnum, current_platform
from vllm.scalar_type import scalar_types

_TILE = 32  # as vLLM's own: what is made on one processor is to be served on the other


class DequantizedFloatKernel(MPLinearKernel):
    """Multiplies by symmetric 4-bit weights that were dequantized to float32."""

    @classmethod
    def get_min_capability(cls) -> int:
        return -1

    @classmethod
    def can_implement(cls, c: MPLinearLayerConfig) -> tuple[bool, str | None]:
        if c.weight_type != scalar_types.uint4b8 or c.zero_points:
            return False, "DequantizedFloatKernel takes symmetric 4-bit weights alone"
        if any(width % _TILE for width in c.partition_weight_shape):
            return False, f"DequantizedFloatKernel takes widths in multiples of {_TILE}"
        return True, None

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Replace the packed weights, shape (out, in / 8), by float32 ones, shape (out, in)."""
        packed, scales = getattr(layer, self.w_q_name), getattr(layer, self.w_s_name)
        weights = unpack_quantized_values_into_int32(
            packed.data, self.config.weight_type, packed.packed_dim
        )
        by_output = weights if packed.input_dim == 1 else weights.t()
        of_group = scales.data if scales.output_dim == 0 else scales.data.t()
        size = by_output.shape[1] // of_group.shape[1]
        grouped = (by_output - self.config.weight_type.bias).float().unflatten(1, (-1, size))
        packed.data = (grouped * of_group.float().unsqueeze(-1)).flatten(1).contiguous()

    def apply_weights(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        weights, *_ = self._get_weight_params(layer)
        added = None if bias is None else bias.float()
        return torch.nn.functional.linear(x.float(), weights, added).to(x.dtype)


def is_needed() -> bool:
    """Whether vLLM runs on a processor that its own 4-bit kernel is not compiled for."""
    return current_platform.is_cpu() and not hasattr(torch.ops._C, "cpu_gemm_wna16")


def register() -> None:
    """Have vLLM try the kernel before its own, where it is needed. A plugin is loaded several
    times."""
    kernels = linear._POSSIBLE_KERNELS[PlatformEnum.CPU]
    if is_needed() and DequantizedFloatKernel not in kernels:
        kernels.insert(0, DequantizedFloatKernel)
