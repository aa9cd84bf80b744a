"""HQQ rounds weights about zeros that fit them."""

import torch

from app.quantizer.rounding import rounded
from bench.hqq import half_quadratic

WEIGHTS = torch.randn(8, 256, generator=torch.Generator().manual_seed(0))


def error(found, weights=WEIGHTS):
    return float((found - weights).square().mean())


def test_so_many_values_share_a_scale():
    groups = half_quadratic(WEIGHTS, 3, 64).reshape(-1, 64)
    assert max(len(group.unique()) for group in groups) <= 8


def test_it_loses_less_than_rounding_about_zero():
    assert error(half_quadratic(WEIGHTS, 3, 128)) < error(rounded(WEIGHTS, "W3A16 g128"))


def test_the_zero_lies_where_the_weights_do():
    far = WEIGHTS.abs() + 10
    about_zero = error(rounded(far, "W4A16 g128"), far)
    assert error(half_quadratic(far, 4, 128), far) < about_zero / 10


def test_a_moved_zero_loses_less_than_the_range_s_own():
    groups = WEIGHTS.reshape(-1, 128)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scale = (high - low) / 3
    unmoved = (scale * ((groups - low) / scale).round() + low).reshape(WEIGHTS.shape)
    moved = half_quadratic(WEIGHTS, 2, 128)
    assert float((moved - WEIGHTS).abs().mean()) < float((unmoved - WEIGHTS).abs().mean())


def test_a_row_is_a_group_where_there_is_no_size():
    assert torch.equal(half_quadratic(WEIGHTS, 4, None), half_quadratic(WEIGHTS, 4, 256))


def test_equal_weights_stay_as_they_are():
    assert torch.allclose(half_quadratic(torch.ones(2, 64), 4, 64), torch.ones(2, 64))
