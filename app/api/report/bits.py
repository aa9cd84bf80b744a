"""The schemes of a candidate's layers, as a table: which has how many bits."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.quantization.proof import Proof


@dataclass(frozen=True)
class Cell:
    """A fused group's scheme; bits: of its weights, 0 where they are left alone."""

    scheme: str
    bits: int


@dataclass(frozen=True)
class Row:
    """Neighbouring layers of a stack that are alike, with what each fused group has there."""

    layers: str
    cells: list[Cell]


@dataclass(frozen=True)
class Stack:
    """A stack's table: its fused groups are the columns."""

    name: str
    groups: list[str]
    rows: list[Row]


def stacks(proof: Proof, *, chosen: bool = False) -> list[Stack]:
    """Return encoder and decoder; nothing where it is unknown, or all layers have one scheme and
    that was not `chosen` layer by layer."""
    schemes = (proof.run.get("making") or {}).get("schemes") or {}
    if len({*schemes.values()}) < (1 if chosen else 2):
        return []
    found: dict[str, dict[int, dict[str, Cell]]] = {}
    for group, scheme in schemes.items():
        stack, _, layer, name = group.split(".", 3)
        bits = 0 if scheme == "none" else int(scheme[1])
        found.setdefault(stack, {}).setdefault(int(layer), {})[name] = Cell(scheme, bits)
    return [Stack(name, [*layers[0]], _rows(layers)) for name, layers in found.items()]


def _rows(layers: Mapping[int, Mapping[str, Cell]]) -> list[Row]:
    runs: list[tuple[int, int]] = []
    for layer, cells in layers.items():
        if runs and layers[runs[-1][1]] == cells:
            runs[-1] = (runs[-1][0], layer)
        else:
            runs.append((layer, layer))
    return [
        Row(f"{first}" if first == last else f"{first} to {last}", [*layers[first].values()])
        for first, last in runs
    ]
