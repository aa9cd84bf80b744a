"""Weights and inputs are rounded as kernels of a scheme would see them, and put back."""

import pytest
import torch

from app.quantizer.rounding import quantized, rounded, rounded_inputs

WEIGHTS = torch.linspace(-1, 1, 4 * 64).reshape(4, 64) ** 3


def linear():
    made = torch.nn.Linear(64, 4)
    made.weight.data = WEIGHTS.clone()
    return made


@pytest.mark.parametrize(("scheme", "most"), [("W8A8", 256), ("W4A16 g32", 16)])
def test_so_many_values_share_a_scale(scheme, most):
    found = rounded(WEIGHTS, scheme)
    size = 32 if "g32" in scheme else 64
    assert max(len(one.unique()) for one in found.unflatten(1, (-1, size)).flatten(0, 1)) <= most


def test_fewer_bits_and_larger_groups_lose_more():
    losses = [
        float((rounded(WEIGHTS, one) - WEIGHTS).square().sum())
        for one in ("none", "W8A8", "W4A16 g32", "W4A16 g64")
    ]
    assert losses[0] == 0
    assert losses == sorted(losses)


def test_each_token_has_a_scale_of_its_own():
    inputs = torch.tensor([[1.0, 0.5], [1000.0, 500.0]])
    assert torch.allclose(rounded_inputs(inputs), inputs, rtol=0.01)


def test_weights_are_as_before_when_it_is_over():
    one = linear()
    with torch.no_grad():
        before = one(WEIGHTS)
        with quantized({"a": [one]}, {"a": "W4A16 g32"}):
            assert not torch.equal(one(WEIGHTS), before)
        assert torch.equal(one(WEIGHTS), before)


def test_eight_bit_activations_are_rounded_too_and_others_are_not():
    one = linear()
    with torch.no_grad(), quantized({"a": [one]}, {"a": "W8A8"}):
        right = torch.nn.functional.linear(rounded_inputs(WEIGHTS), one.weight, one.bias)
        assert torch.equal(one(WEIGHTS), right)
    with torch.no_grad(), quantized({"a": [one]}, {"a": "W4A16 g32"}):
        assert torch.equal(one(WEIGHTS), torch.nn.functional.linear(WEIGHTS, one.weight, one.bias))


def test_what_is_not_quantized_stays():
    one = linear()
    with torch.no_grad(), quantized({"a": [one]}, {"a": "none"}):
        assert torch.equal(one.weight, WEIGHTS)
