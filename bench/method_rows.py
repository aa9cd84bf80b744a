"""Rows of the table of quantization methods (bench/quantize.py): a method, bits, a group size."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from app.checkpoints.recipe import GroupSize, LayerScheme, Method, Recipe

# By what they are called in the table. Beside the service's own: SmoothQuant (Xiao et al.,
# arXiv:2211.10438) and HQQ (Badri and Shaji, mobiusml.github.io/hqq_blog), which round to nearest
# what they have smoothed, or to a zero that they have moved.
METHODS = {
    "rtn": "RTN",
    "hqq": "HQQ",
    "smoothquant": "SmoothQuant",
    "awq": "AWQ",
    "gptq": "GPTQ",
    "gptq-apart": "GPTQ, errors not propagated",
    "imatrix": "GPTQ, imatrix scales",
    "autoround": "AutoRound",
}
PLAIN, BEST = "rtn", "imatrix"  # which other group sizes are tried with
_OTHER_GROUPS: tuple[GroupSize, ...] = (32, 64, "channel")
_ROUNDED_INPUTS = ("rtn", "smoothquant", "gptq")  # tried with activations of eight bits


@dataclass(frozen=True)
class Making:
    """What is made once, whatever bits the activations then have. method: a key of METHODS."""

    method: str
    bits: int
    group_size: GroupSize = 128

    @property
    def weights(self) -> LayerScheme:
        """The scheme of the weights."""
        return LayerScheme.read(f"W{self.bits}A16", self.group_size)

    @property
    def zeros(self) -> bool:
        """Whether a group has a zero beside its scale."""
        return self.method == "hqq"

    def recipe(self) -> Recipe:
        """Return the recipe of the part that the service's quantizer does: of SmoothQuant, what
        comes after it."""
        method: Any = self.method if self.method in get_args(Method) else "gptq"
        more: dict[str, Any] = {"observer": "imatrix"} if self.method == "imatrix" else {}
        return Recipe(
            method="rtn" if self.method in ("smoothquant", "hqq") else method,
            scheme=self.weights.scheme,
            group_size=self.group_size,
            emulate=True,
            **more,
        )


@dataclass(frozen=True)
class Row:
    """A row: what is made, and the bits of activations."""

    making: Making
    activations: int = 16

    @property
    def bits(self) -> str:
        return f"W{self.making.bits}A{self.activations}"

    @property
    def name(self) -> str:
        """A name for files: gptq-w4a16-g128."""
        size = self.making.group_size
        group = size if size == "channel" else f"g{size}"
        return f"{self.making.method}-{self.bits}-{group}".lower()


def rows() -> Iterator[Row]:
    """Yield all rows, those first that say most and take least."""
    rounded, learned = ("rtn", "hqq"), ("smoothquant", "gptq", "imatrix", "gptq-apart", "awq")
    sizes = _OTHER_GROUPS
    yield from (Row(Making(method, bits)) for bits in (4, 3) for method in rounded + learned)
    yield from (Row(Making(method, 4), 8) for method in _ROUNDED_INPUTS)
    yield from (Row(Making(method, bits)) for bits in (8, 2) for method in rounded)
    yield from (Row(Making(PLAIN, bits, size)) for bits in (3, 4) for size in sizes)
    yield Row(Making(PLAIN, 8, "channel"), 8)
    yield from (Row(Making(BEST, 3, size)) for size in sizes)
    yield Row(Making("autoround", 3))
    yield from (Row(Making(BEST, 4, size)) for size in sizes)
    yield Row(Making("autoround", 4))
    yield from (Row(Making(method, 8, "channel"), 8) for method in _ROUNDED_INPUTS[1:])
    yield from (Row(Making(method, bits)) for bits in (2, 8) for method in learned)
    yield from (Row(Making("autoround", bits)) for bits in (2, 8))
