"""What each fused group may be, what that costs and loses, and the sums of a choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from app.models.whisper_vllm.shape import Architecture
from app.tuning.cost import Cost
from app.tuning.groups import SCHEMES, Group

Measure = Literal["seconds", "bytes", "loss"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
REST = "everything else"  # embeddings, norms, convolutions; attention, sampler and the engine


@dataclass(frozen=True)
class Option:
    """One scheme of one group. seconds: of a clip. loss: in nats a token."""

    scheme: str
    seconds: float
    bytes: float
    loss: float


Options = Mapping[str, Sequence[Option]]  # by group


@dataclass(frozen=True)
class Chosen:
    """Schemes by group, and their sums."""

    schemes: Mapping[str, str]
    seconds: float
    bytes: float
    loss: float

    def of(self, measure: Measure) -> float:
        found: float = getattr(self, measure)
        return found


_SHOWN = {"seconds": (1000, "ms"), "bytes": (1e-6, "MB"), "loss": (1, "nats a token")}


def shown(measure: Measure, value: float) -> str:
    """Return a figure with its unit, for people."""
    factor, unit = _SHOWN[measure]
    return f"{value * factor:.4g} {unit}"


def chosen(options: Options, schemes: Mapping[str, str]) -> Chosen:
    """Add up what a choice costs and loses."""
    taken = [
        next(option for option in several if option.scheme == schemes[name])
        for name, several in options.items()
    ]
    sums = {measure: float(sum(getattr(one, measure) for one in taken)) for measure in MEASURES}
    return Chosen(dict(schemes), **sums)


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


def least_bytes(config: Mapping[str, Any], groups: Sequence[Group]) -> int:
    """Return the bytes of the smallest choice that there is."""
    smallest = (min(one.bytes(s) for s in SCHEMES if one.takes(s)) for one in groups)
    return rest_bytes(config, groups) + sum(smallest)
