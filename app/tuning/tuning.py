"""Bits by layer, chosen for a scenario by what was measured on this device."""

from collections.abc import Mapping
from contextlib import suppress

from app.tuning.choice import NothingFits, choose, front, undominated
from app.tuning.groups import SCHEMES
from app.tuning.options import REST, Chosen, Measure, Options, chosen
from app.tuning.wish import DEFAULT, Tuning, Wish

_TIE = 1e-6  # of what is least: among choices that have no more of it, the least loss counts


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
