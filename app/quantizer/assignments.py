"""Random assignments of schemes to fused groups, to compare scores by."""

from collections.abc import Sequence
from random import Random


def assignments(groups: Sequence[str], schemes: Sequence[str], count: int) -> list[dict[str, str]]:
    """Return random assignments, the same every time. How often each stack takes each scheme is
    drawn too: with the same odds for all, all would lose about the same."""
    chance = Random(0)  # noqa: S311  no secret
    return [_assignment(groups, schemes, chance) for _ in range(count)]


def _assignment(groups: Sequence[str], schemes: Sequence[str], chance: Random) -> dict[str, str]:
    odds = {stack: [chance.expovariate(1) for _ in schemes] for stack in ("encoder", "decoder")}
    return {name: chance.choices(schemes, odds[name.partition(".")[0]])[0] for name in groups}
