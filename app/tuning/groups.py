"""The fused groups of a Whisper as multiplications: shapes, how often they run, bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.checkpoints.fused_groups import fused_groups
from app.checkpoints.recipe import LayerScheme

SCHEMES = ("none", "W8A8", "W4A16 g32", "W4A16 g128")
WINDOW_ROWS = 1500  # what the encoder multiplies at once for each window
_HALF = 2  # bytes of a weight that is not quantized, and of a scale


@dataclass(frozen=True)
class Group:
    """A fused group: what vLLM multiplies at once, with one scheme.

    once: whether it runs once a window, over the encoder's positions, and not once a token.
    """

    name: str
    inputs: int
    outputs: int
    once: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.inputs, self.outputs

    @property
    def attends(self) -> bool:
        """Whether its outputs are what the encoder's positions attend by: its scheme decides in how
        many bits they do."""
        return self.once and self.name.endswith(".self_attn.qkv")

    def bytes(self, scheme: str) -> int:
        """Return what its weights and scales take, in bytes."""
        weights = self.inputs * self.outputs
        if scheme == "none":
            return _HALF * weights
        kind, size = LayerScheme.read(scheme, "channel")
        scales = self.outputs if size == "channel" else weights // size
        return weights * int(kind[1]) // 8 + _HALF * scales

    def takes(self, scheme: str) -> bool:
        """Whether a scheme's groups of weights divide its inputs."""
        size = LayerScheme.read(scheme, "channel").group_size
        return size == "channel" or self.inputs % size == 0


def groups_of(config: Mapping[str, Any]) -> list[Group]:
    """Return the fused groups of a config.json, in the order of the model."""
    return [
        Group(name, *shape, once=_is_once(name)) for name, shape in fused_groups(config).items()
    ]


def _is_once(name: str) -> bool:
    return name.startswith("encoder.") or name.endswith(".encoder_attn.kv")
