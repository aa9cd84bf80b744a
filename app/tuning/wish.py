"""A wish for bits by layer, and the choice that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.models.whisper_vllm.budget import Memory, footprint_of
from app.models.whisper_vllm.shape import Architecture
from app.tuning.cost import AT_ONCE, Scenario
from app.tuning.options import MEASURES, REST, Chosen, Measure

# What a start takes on a card, and on a processor where somebody wants four bits.
DEFAULT = "the default in four bits"
_TIMINGS = 0.01  # what timings can tell apart at best
_MOST: Mapping[Scenario, Measure] = {
    "latency": "seconds", "throughput": "seconds", "memory": "bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. clip_seconds: of speech, in the clip that times are of. most_…:
    limits on its seconds, the weights' bytes and the loss, in nats a token; where no loss is named,
    it is that of the default in four bits."""

    scenario: Scenario
    clip_seconds: float = 10.0
    most_seconds: float | None = None
    most_bytes: float | None = None
    most_loss: float | None = None

    @property
    def minimised(self) -> Measure:
        return _MOST[self.scenario]

    @property
    def at_once(self) -> int:
        """Windows that are decoded at once in this scenario."""
        return AT_ONCE[self.scenario]

    def limits(self, default: Chosen) -> dict[Measure, float]:
        """Return the limits that the choice keeps."""
        asked = {name: getattr(self, f"most_{name}") for name in MEASURES}
        loss = default.loss if self.most_loss is None else self.most_loss
        return {name: most for name, most in asked.items() if most is not None} | {"loss": loss}


@dataclass(frozen=True)
class Tuning:
    """A choice, and what it was chosen from. limits: that it keeps. front: nothing beats these in
    both what is minimised and the loss. uniform: recipes without a choice by layer, by name;
    instead: of each, the best choice by layer that loses no more."""

    wish: Wish
    limits: Mapping[Measure, float]
    choice: Chosen
    front: Sequence[Chosen]
    uniform: Mapping[str, Chosen]
    instead: Mapping[str, Chosen]

    @property
    def schemes(self) -> dict[str, str]:
        """The chosen scheme of each fused group."""
        return {name: one for name, one in self.choice.schemes.items() if name != REST}

    def gain(self, name: str) -> float:
        """Return what a choice by layer saves of a uniform recipe at no more loss, as a share."""
        measure = self.wish.minimised
        return 1 - self.instead[name].of(measure) / self.uniform[name].of(measure)

    @property
    def unbeaten(self) -> list[str]:
        """The uniform recipes that no choice by layer beats by more than timings can tell."""
        return [name for name in self.uniform if self.gain(name) <= _TIMINGS]

    @property
    def verdict(self) -> str:
        """Whether choosing by layer gains anything over one scheme for all, in a sentence."""
        if not self.unbeaten:
            return "A choice by layer beats every recipe without one: as little loss for less."
        names = ", ".join("unquantized" if name == "none" else name for name in self.unbeaten)
        return f"By no more than 1 % does a choice by layer beat, at no more loss: {names}."


def card_bytes(config: Mapping[str, Any], gigabytes: float) -> float:
    """Return the bytes of weights that a card has room for, beside one window and what CUDA
    takes."""
    shape = Architecture.of(config).geometry("bf16")
    needs = footprint_of(shape, "cuda")
    return Memory.of_a_card(gigabytes).free - needs.overhead - needs.window
