"""Bits by layer, chosen for a scenario by what was measured on this device."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.models.whisper_vllm.budget import Memory, footprint_of
from app.models.whisper_vllm.shape import Architecture
from app.tuning.choice import (
    MEASURES,
    Chosen,
    Measure,
    NothingFits,
    Option,
    Options,
    choose,
    chosen,
    front,
    undominated,
)
from app.tuning.cost import AT_ONCE, Cost, Scenario
from app.tuning.groups import SCHEMES, Group

REST = "everything else"  # embeddings, norms, convolutions; attention, sampler and the engine
DEFAULT = "the default recipe"
_TIE = 1e-6  # of what is least: among choices that have no more of it, the least loss counts
_TIMINGS = 0.01  # what timings can tell apart at best
_MOST: Mapping[Scenario, Measure] = {
    "latency": "seconds", "throughput": "seconds", "memory": "bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. clip_seconds: of speech, in the clip that times are of. most_…:
    limits on its seconds, the weights' bytes and the loss, in nats a token; where no loss is named,
    it is the default recipe's."""

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


def options_of(
    groups: Sequence[Group],
    cost: Cost,
    losses: Mapping[str, float],
    config: Mapping[str, Any],
    at_once: int,
) -> Options:
    """Return every group's options, and as one more group what no scheme changes."""
    options = {
        group.name: [
            Option(
                scheme,
                cost.group_seconds(group, scheme, at_once),
                group.bytes(scheme),
                losses.get(f"{group.name} {scheme}", 0.0),
            )
            for scheme in SCHEMES
            if group.takes(scheme)
        ]
        for group in groups
    }
    return options | {
        REST: [Option("none", cost.rest_seconds(at_once), rest_bytes(config, groups), 0)]
    }


def rest_bytes(config: Mapping[str, Any], groups: Sequence[Group]) -> int:
    """Return the bytes of what is in no group."""
    return Architecture.of(config).weight_bytes("bf16") - sum(one.bytes("none") for one in groups)


def tuned(wish: Wish, options: Options, default: Mapping[str, str]) -> Tuning:
    """Choose. `default` are the schemes of the recipe that would be made without a choice. Raises
    NothingFits."""
    uniform = {
        **{scheme: _uniform(options, scheme) for scheme in SCHEMES if _all_take(options, scheme)},
        DEFAULT: chosen(options, {**_possible(options, default), REST: "none"}),
    }
    limits = wish.limits(uniform[DEFAULT])
    best = choose(options, wish.minimised, limits)
    near = limits | {wish.minimised: best.of(wish.minimised) * (1 + _TIE)}
    with suppress(NothingFits):  # HiGHS' tolerance, where a limit is as tight as can be
        best = choose(options, "loss", _within(near, limits))
    points = undominated([*front(options, wish.minimised, limits), best], wish.minimised)
    instead = {name: _instead(options, wish.minimised, one) for name, one in uniform.items()}
    return Tuning(wish, limits, best, points, uniform, instead)


def _instead(options: Options, minimise: Measure, one: Chosen) -> Chosen:
    """Return the best choice that loses no more than a uniform recipe: at least that itself."""
    found = choose(options, minimise, {"loss": one.loss * (1 + _TIE)})
    return found if found.of(minimise) < one.of(minimise) else one


def _within(near: dict[Measure, float], limits: Mapping[Measure, float]) -> dict[Measure, float]:
    """Return limits of which none allows more than was asked for."""
    return {name: min(most, limits.get(name, most)) for name, most in near.items()}


def _possible(options: Options, schemes: Mapping[str, str]) -> dict[str, str]:
    """Return schemes with none in place of those that a group cannot take."""
    return {
        name: scheme if any(one.scheme == scheme for one in options[name]) else "none"
        for name, scheme in schemes.items()
    }


def _uniform(options: Options, scheme: str) -> Chosen:
    return chosen(options, dict.fromkeys(options, scheme) | {REST: "none"})


def _all_take(options: Options, scheme: str) -> bool:
    return all(
        name == REST or any(one.scheme == scheme for one in several)
        for name, several in options.items()
    )


def card_bytes(config: Mapping[str, Any], gigabytes: float) -> float:
    """Return the bytes of weights that a card has room for, beside one window and what CUDA
    takes."""
    shape = Architecture.of(config).geometry("bf16")
    needs = footprint_of(shape, "cuda")
    return Memory.of_a_card(gigabytes).free - needs.overhead - needs.window
