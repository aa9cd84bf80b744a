"""What a choice is based on: what was measured of a source on a device."""

from dataclasses import dataclass
from typing import Any

from app.checkpoints.device import fingerprint
from app.tuning.cost import Cost
from app.tuning.engine_times import Measured
from app.tuning.groups import Group
from app.tuning.linear_times import LinearTimes


@dataclass(frozen=True)
class Findings:
    """What was measured of a source on a device. facts: the device's. losses: of "group scheme", in
    nats a token. disturbed: what was timed while others used the device, also when it was timed
    again."""

    facts: dict[str, Any]
    groups: list[Group]
    linear: LinearTimes
    whole: Measured
    losses: dict[str, float]
    disturbed: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The device's fingerprint."""
        return fingerprint(self.facts)

    def cost(self, clip_seconds: float) -> Cost:
        """Return what predicts a clip of so many seconds of speech."""
        tokens = self.whole.tokens_a_second * clip_seconds
        return Cost(self.groups, self.linear, self.whole.times, tokens)

    @property
    def doubts(self) -> list[str]:
        """What is uncertain of the times, in sentences: what varied by more than a fifth, and what
        others disturbed, also when it was measured again."""
        several = [
            f"{one.shape[0]} to {one.shape[1]}, {one.scheme}, {one.rows} rows: {one.spread:.0%}"
            for one in self.linear.unsteady
        ]
        several += [f"the engine: {self.whole.spread:.0%}"] if self.whole.unsteady else []
        return [*map(varied, several), *map(disturbed, self.disturbed)]


def varied(what: str) -> str:
    """Return a doubt in a sentence: times that differ by more than a fifth."""
    return f"varies from round to round, also when measured again: {what}"


def disturbed(what: str) -> str:
    """Return a doubt in a sentence: times of a device that others used meanwhile."""
    return f"timed while requests were answered, also when timed again, and not kept: {what}"
