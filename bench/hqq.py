"""HQQ, half-quadratic quantization: weights rounded about zeros that are moved to fit.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
(mobiusml.github.io/hqq_blog). Of W ≈ scale · (Q - zero) the scale is the group's range by the
steps, and the zero is found by alternating two closed forms, which minimise the errors' p-norm with
p < 1: outliers are let go. Nothing is learned from recordings.
"""

import torch

# The authors' defaults.
_NORM, _BETA, _GROWTH, _ROUNDS = 0.7, 10.0, 1.01, 20


def half_quadratic(weights: torch.Tensor, bits: int, group_size: int | None) -> torch.Tensor:
    """Return weights, shape (out, in), as they are after rounding in groups along the input; None
    takes a row for a group."""
    groups = weights.reshape(-1, group_size or weights.shape[1])
    most = 2**bits - 1
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scale = ((high - low) / most).clamp_min(1e-12)
    zero = _moved(groups, scale, -low / scale, most)
    return (scale * (_rounded(groups, scale, zero, most) - zero)).reshape(weights.shape)


def _moved(
    groups: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, most: int
) -> torch.Tensor:
    """Move zeros for as long as the mean error falls."""
    beta, best, kept = _BETA, torch.inf, zero
    for _ in range(_ROUNDS):
        steps = _rounded(groups, scale, zero, most)
        errors = groups - scale * (steps - zero)
        mean = float(errors.abs().mean())
        if mean >= best:
            break
        best, kept = mean, zero
        zero = (steps - (groups - _shrunk(errors, beta)) / scale).mean(1, keepdim=True)
        beta *= _GROWTH
    return kept


def _rounded(
    groups: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, most: int
) -> torch.Tensor:
    return (groups / scale + zero).round().clamp(0, most)


def _shrunk(errors: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the errors without what counts as noise: the proximal operator of the p-norm."""
    size = errors.abs()
    return errors.sign() * (size - size.pow(_NORM - 1) / beta).clamp_min(0)
