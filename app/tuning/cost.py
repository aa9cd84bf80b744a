"""What a clip costs on a device: the encoder's pass and so many steps of the decoder.

Linear layers are timed one by one (linear_times.py). What is left, attention, the output
projection, norms, the sampler and everything around them, is what the whole engine takes beside
them, with a checkpoint whose schemes are known (engine_times.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.tuning.groups import WINDOW_ROWS, Group
from app.tuning.linear_times import LinearTimes

Scenario = Literal["latency", "throughput", "memory"]
AT_ONCE: Mapping[Scenario, int] = {"latency": 1, "throughput": 16, "memory": 1}


@dataclass(frozen=True)
class EngineTimes:
    """Seconds of an engine. encoder: of a window, its prompt among it. step: of all windows that
    are decoded at once, by how many those are."""

    encoder: float
    step: Mapping[int, float]


@dataclass(frozen=True)
class Cost:
    """Predicts seconds from times of layers, and of an engine whose groups all were unquantized.

    tokens: of a clip.
    """

    groups: Sequence[Group]
    linear: LinearTimes
    whole: EngineTimes
    tokens: float

    def group_seconds(self, group: Group, scheme: str, at_once: int) -> float:
        """Return a group's seconds of a clip, where so many are decoded at once."""
        if group.once:
            return self.linear.seconds(group, scheme, WINDOW_ROWS)
        return self.tokens * self.linear.seconds(group, scheme, at_once) / at_once

    def rest_seconds(self, at_once: int) -> float:
        """Return the seconds of a clip that no scheme changes."""
        unquantized = dict.fromkeys((group.name for group in self.groups), "none")
        encoder = self.whole.encoder - self._linear_encoder(unquantized)
        step = self.whole.step[at_once] - self._linear_step(unquantized, at_once)
        return encoder + self.tokens * step / at_once

    def clip_seconds(self, schemes: Mapping[str, str], at_once: int) -> float:
        """Predict the seconds of a clip."""
        own = (self.group_seconds(one, schemes[one.name], at_once) for one in self.groups)
        return self.rest_seconds(at_once) + sum(own)

    def engine_times(self, schemes: Mapping[str, str]) -> EngineTimes:
        """Predict the times of an engine with such a checkpoint."""
        unquantized = dict.fromkeys(schemes, "none")
        changed = self._linear_encoder(schemes) - self._linear_encoder(unquantized)
        steps = {
            rows: seconds + self._linear_step(schemes, rows) - self._linear_step(unquantized, rows)
            for rows, seconds in self.whole.step.items()
        }
        return EngineTimes(self.whole.encoder + changed, steps)

    def _linear_encoder(self, schemes: Mapping[str, str]) -> float:
        return sum(
            self.linear.seconds(group, schemes[group.name], WINDOW_ROWS)
            for group in self.groups
            if group.once
        )

    def _linear_step(self, schemes: Mapping[str, str], rows: int) -> float:
        return sum(
            self.linear.seconds(group, schemes[group.name], rows)
            for group in self.groups
            if not group.once
        )
