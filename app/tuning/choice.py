"""The choice of a scheme for each fused group under limits, as an integer program.

Each group takes one of its options; bytes, seconds and loss add up. HiGHS, through
`scipy.optimize.milp`, finds the best of all combinations, or proves that none fits.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRecipe
from app.tuning.options import Chosen, Measure, Option, Options, chosen, shown

Numbers = NDArray[np.float64]
_SLACK = 1e-6  # of a limit: HiGHS' own tolerance, where the limit counts 1
_FRONT_POINTS = 16


class NothingFits(BadRecipe):
    """No choice of schemes keeps the limits that were given.

    least: of each limit, what it would have to be for something to fit, the others kept; infinite
    where nothing would.
    """

    def __init__(self, least: Mapping[Measure, float], limits: Mapping[Measure, float]) -> None:
        self.least = least
        told = "; ".join(_told(measure, least[measure], limits[measure]) for measure in limits)
        kind = "The limits contradict each other" if len(limits) > 1 else "Nothing fits"
        super().__init__(f"{kind}: {told}.", "Allow more, or leave a limit out.")


def _told(measure: Measure, least: float, limit: float) -> str:
    asked = f"{shown(measure, limit)} at most are asked for"
    if np.isinf(least):
        return f"{asked}, and none would do beside the other limits"
    beside = "the least that would do is"
    return f"{asked}, {beside} {shown(measure, least)}"


def choose(options: Options, minimise: Measure, limits: Mapping[Measure, float]) -> Chosen:
    """Return the choice with the least of one measure that keeps all limits. Raises NothingFits."""
    found = _solved(options, minimise, limits)
    if found is None:
        raise NothingFits(_least(options, limits), limits)
    return found


def _least(options: Options, limits: Mapping[Measure, float]) -> dict[Measure, float]:
    """Return what each limit would have to be, the others kept."""
    least: dict[Measure, float] = {}
    for measure in limits:
        others = {name: value for name, value in limits.items() if name != measure}
        found = _solved(options, measure, others)
        least[measure] = found.of(measure) if found else float("inf")
    return least


def _solved(options: Options, minimise: Measure, limits: Mapping[Measure, float]) -> Chosen | None:
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second of every command

    flat = [option for several in options.values() for option in several]
    costs = _column(flat, minimise)
    constraints = [LinearConstraint(_one_each(options), 1, 1)]
    for measure, most in limits.items():
        # Counted in limits: HiGHS' tolerances are absolute, and losses are thousandths.
        column = _column(flat, measure)
        unit = max(abs(most), float(column.max(initial=0)) * _SLACK, 1e-300)
        constraints.append(LinearConstraint(column[None] / unit, -np.inf, most / unit))
    answer = milp(
        costs / max(float(costs.max(initial=0)), 1e-300),
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    if answer.x is None:
        return None
    return chosen(options, _taken(options, answer.x > 0.5))


def _column(flat: Sequence[Option], measure: Measure) -> Numbers:
    return np.array([getattr(option, measure) for option in flat], dtype=np.float64)


def _one_each(options: Options) -> Numbers:
    """Return a row for each group, with ones where its options are."""
    rows = np.zeros((len(options), sum(map(len, options.values()))))
    start = 0
    for row, several in zip(rows, options.values(), strict=True):
        row[start : start + len(several)] = 1
        start += len(several)
    return rows


def _taken(options: Options, picked: Sequence[bool]) -> dict[str, str]:
    marks = iter(picked)
    return {
        name: next(one.scheme for one, mark in [(one, next(marks)) for one in several] if mark)
        for name, several in options.items()
    }


def front(options: Options, minimise: Measure, limits: Mapping[Measure, float]) -> list[Chosen]:
    """Return the Pareto front of a measure and the loss: the best choices at losses from the least
    to what the fastest (or smallest) choice loses, under the other limits."""
    others: dict[Measure, float] = {n: value for n, value in limits.items() if n != "loss"}
    least, cheapest = _solved(options, "loss", others), _solved(options, minimise, others)
    if least is None or cheapest is None:
        return []
    highest = max(cheapest.loss, 1e-12)
    losses = np.geomspace(max(least.loss, highest * 1e-3), highest, _FRONT_POINTS)
    found = [
        _solved(options, minimise, others | {"loss": max(float(most), least.loss)})
        for most in (least.loss, *losses)
    ]
    return undominated([one for one in found if one is not None], minimise)


def undominated(several: Sequence[Chosen], measure: Measure) -> list[Chosen]:
    """Return the choices that no other beats in both measure and loss, by rising loss."""
    best: list[Chosen] = []
    for one in sorted(several, key=lambda one: (one.loss, one.of(measure))):
        if not best or one.of(measure) < best[-1].of(measure):
            best.append(one)
    return best
