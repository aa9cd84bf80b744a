"""Errors of a candidate's layers against its source's, on the residual stream.

The residual stream is where one layer hands its output to the next. Inside a layer the same may be
computed with other scales: AWQ multiplies a Linear's weights by what it divides the norm before it
by. So neither weights nor a Linear's outputs can be compared across all methods, and the stream
can.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

Stream = list[torch.Tensor]  # what enters each gate of a model, in order, of one clip


def _gates(model: Any) -> list[tuple[str | None, nn.Module]]:
    """Return the modules where the stream is seen: the layers and the norm after the last, each
    with the layer whose output enters it (none for the first of a stack)."""
    gates: list[tuple[str | None, nn.Module]] = []
    for name, stack in (("encoder", model.model.encoder), ("decoder", model.model.decoder)):
        before = [None, *(f"{name}.{number}" for number in range(len(stack.layers)))]
        gates += zip(before, [*stack.layers, stack.layer_norm], strict=True)
    return gates


@contextmanager
def _watched(
    model: Any, enter: Callable[[str | None, torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """While the context lasts, `enter` is called with what enters each gate and returns what shall
    enter it."""

    def hook(layer: str | None, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (enter(layer, args[0]), *args[1:])

    handles = [
        gate.register_forward_pre_hook(partial(hook, layer)) for layer, gate in _gates(model)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def captured(model: Any, stream: Stream) -> Iterator[None]:
    """Append to `stream` what enters each gate, while the context lasts."""

    def enter(_: str | None, hidden: torch.Tensor) -> torch.Tensor:
        stream.append(hidden.cpu())
        return hidden

    with _watched(model, enter):
        yield


class Errors:
    """Relative errors of layers' outputs: Frobenius norms, over all clips together."""

    def __init__(self) -> None:
        self._wrong: dict[str, float] = {}
        self._right: dict[str, float] = {}

    @contextmanager
    def measured(self, model: Any, source: Stream, *, corrected: bool) -> Iterator[None]:
        """Compare one clip's pass with the source's stream. Where `corrected`, each layer is given
        what the source's layer was given, so that only its own error shows and not that of the
        layers before it."""
        expected = iter(source)

        def enter(layer: str | None, hidden: torch.Tensor) -> torch.Tensor:
            right = next(expected).to(hidden.device)
            if layer is not None:
                self._add(layer, hidden.float(), right.float())
            return right if corrected else hidden

        with _watched(model, enter):
            yield

    def _add(self, layer: str, found: torch.Tensor, right: torch.Tensor) -> None:
        for sums, difference in ((self._wrong, found - right), (self._right, right)):
            sums[layer] = sums.get(layer, 0.0) + difference.square().sum(dtype=torch.float64).item()

    def relative(self) -> dict[str, float]:
        """Return each layer's relative error, in the order of the model."""
        return {layer: (self._wrong[layer] / self._right[layer]) ** 0.5 for layer in self._wrong}
