"""The CPU's column of the table of schemes is vLLM's own."""

import json
import subprocess
import sys

import pytest

from app.checkpoints.recipe import Recipe
from app.checkpoints.schemes import SERVED, refusal
from tests.engine.conftest import KERNELS

# Its imports warn of their own deprecations: in a process of its own.
ASK_VLLM = """
import json, sys
import torch
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.model_executor.kernels import linear
from vllm.plugins import load_general_plugins
from vllm.model_executor.layers.quantization.compressed_tensors.schemes import (
    compressed_tensors_wNa16 as packed,
)

def answer(bits, group_size, width):
    config = linear.MPLinearLayerConfig(
        full_weight_shape=(width, width), partition_weight_shape=(width, width),
        weight_type=packed.WNA16_SUPPORTED_TYPES_MAP[bits], act_type=torch.bfloat16,
        group_size=group_size, zero_points=False,
    )
    try:
        return linear.choose_mp_linear_kernel(config).__name__
    except ValueError as error:
        return str(error)

load_general_plugins()  # as an engine does
with set_current_vllm_config(VllmConfig()):
    answers = [answer(*question) for question in json.loads(sys.argv[1])]
    answers.append(linear.init_int8_linear_kernel(True, False, True, "asked").__class__.__name__)
print(json.dumps(answers))
"""
GROUPS = (32, 64, 128, "channel")
SCHEMES = ("W4A16", "W8A16", "W3A16", "W2A16")
ODD_WIDTH = 400


@pytest.fixture(scope="module")
def answers():
    """(scheme, group size, width) to the kernel's name, or to why there is none."""
    questions = [(scheme, group, 384) for scheme in SCHEMES for group in GROUPS]
    questions.append(("W4A16", "channel", ODD_WIDTH))
    asked = [(int(s[1]), -1 if g == "channel" else g, width) for s, g, width in questions]
    told = subprocess.run(
        [sys.executable, "-c", ASK_VLLM, json.dumps(asked)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    *packed, w8a8 = json.loads(told.stdout.splitlines()[-1])
    return dict(zip(questions, packed, strict=True)) | {"W8A8": w8a8}


def refused(scheme, group_size, width):
    config = {"d_model": width, "encoder_ffn_dim": width, "decoder_ffn_dim": width}
    config |= {"encoder_layers": 1, "decoder_layers": 1}
    recipe = Recipe(method="rtn", scheme=scheme, group_size=group_size)
    return refusal(recipe, config, "cpu")


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_packed_weights_are_refused_exactly_where_vllm_has_no_kernel(answers, scheme, group_size):
    answer = answers[scheme, group_size, 384]
    if scheme in SERVED["cpu"]:
        assert answer in KERNELS
        assert refused(scheme, group_size, 384) is None
    else:
        assert "Failed to find a kernel" in answer
        assert "no kernel" in refused(scheme, group_size, 384)


def test_a_width_that_vllms_kernel_does_not_take_is_refused(answers):
    answer = answers["W4A16", "channel", ODD_WIDTH]
    # AMD's takes any width, and a checkpoint is to serve on all processors.
    assert "multiples of 32" in answer or answer == "ZentorchWNA16LinearKernel"
    assert "multiples of 32" in refused("W4A16", "channel", ODD_WIDTH)


def test_w8a8_has_a_kernel_for_any_width(answers):
    assert answers["W8A8"] in {"ZentorchInt8ScaledMMLinearKernel", "CPUInt8ScaledMMLinearKernel"}
    assert refused("W8A8", "channel", ODD_WIDTH) is None
