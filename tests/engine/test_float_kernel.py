"""The kernel for processors without AVX-512 multiplies by the weights that a scheme stands for."""

import subprocess
import sys

# In a process of its own: vLLM's imports warn of their own deprecations.
COMPARE = """
import torch
from vllm.model_executor.kernels.linear import MPLinearLayerConfig
from vllm.model_executor.layers.quantization.utils import quant_utils
from vllm.scalar_type import scalar_types
from app.models.whisper_vllm.float_kernel import DequantizedFloatKernel

OUT, IN, GROUP = 64, 96, 32
torch.manual_seed(0)
values = torch.randint(-8, 8, (OUT, IN))
scales = torch.rand(OUT, IN // GROUP) + 0.1
packed = quant_utils.pack_quantized_values_into_int32(values + 8, scalar_types.uint4b8, 1)

def parameter(data, **dims):
    made = torch.nn.Parameter(data, requires_grad=False)
    for name, dim in dims.items():
        setattr(made, name, dim)
    return made

layer = torch.nn.Module()
layer.register_parameter("q", parameter(packed, input_dim=1, output_dim=0, packed_dim=1))
layer.register_parameter("s", parameter(scales.bfloat16(), input_dim=1, output_dim=0))
shape, kind = (IN, OUT), scalar_types.uint4b8
config = MPLinearLayerConfig(shape, shape, kind, torch.bfloat16, GROUP, False)
assert DequantizedFloatKernel.can_implement(config) == (True, None)
kernel = DequantizedFloatKernel(config, "q", "s")
kernel.process_weights_after_loading(layer)
x, bias = torch.randn(5, IN).bfloat16(), torch.randn(OUT).bfloat16()
meant = values.float() * scales.bfloat16().float().repeat_interleave(GROUP, 1)
torch.testing.assert_close(
    kernel.apply_weights(layer, x, bias).float(), x.float() @ meant.T + bias.float(),
    rtol=0.01, atol=0.01,
)
print("the same")
"""


def test_it_multiplies_by_what_the_integers_and_scales_stand_for():
    told = subprocess.run(
        [sys.executable, "-c", COMPARE], capture_output=True, text=True, timeout=300
    )
    assert told.stdout.splitlines()[-1:] == ["the same"], told.stderr[-3000:]
