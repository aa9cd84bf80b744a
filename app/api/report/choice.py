"""The choice of bits by layer, where there was one: what it was chosen from, as a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from app.api.report.svg import Axis, line, picture, tag, text
from app.api.report.wording import megabytes, number
from app.checkpoints.tuned import Point, Tuned

_WIDTH, _HEIGHT = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 14.0, 12.0, 38.0
_AROUND = 0.06  # of an axis, on both sides of what is drawn
_SCENARIOS = {
    "latency": "the shortest time of one window",
    "throughput": "the most windows a second",
    "memory": "the fewest bytes",
}


@dataclass(frozen=True)
class Choice:
    """A choice's plot, what it was for and what came of it in sentences, and its rows: name, clip,
    weights, loss. times: what was timed, with the source's, the predicted and the candidate's
    milliseconds. doubts: what is uncertain of the times."""

    sentences: list[str]
    plot: Markup
    rows: list[tuple[str, str, str, str]]
    times: list[tuple[str, str, str, str]]
    doubts: list[str]


def choice(job: Mapping[str, Any]) -> Choice | None:
    """Return how a job's recipe was chosen; None where nobody chose by layer, or a record is of
    another version."""
    recipe = job.get("recipe")
    told = recipe.get("tuned") if isinstance(recipe, Mapping) else None
    try:
        tuned = Tuned.model_validate(told)
    except ValidationError:
        return None
    told = job.get("choice") or {}
    sentences = [_sentence(tuned), *_outcome(told)]
    return Choice(sentences, _plot(tuned), _rows(tuned), _times(told), told.get("doubts") or [])


def _outcome(told: Mapping[str, Any]) -> list[str]:
    """Return what a job found of its choice, in sentences."""
    lost = told.get("measured_loss") or {}
    measured = (
        f"Measured, rounded to nearest, the choice loses {number(lost['chosen'], 5)} nats a token, "
        f"the default in four bits {number(lost['default'], 5)}."
        if lost.keys() >= {"chosen", "default"}
        else ""
    )
    return [one for one in (told.get("verdict"), measured) if one]


_TIMED = {"encoder": "The encoder", "step": "A step of the decoder", "clip": "A clip"}


def _times(told: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return what was timed of the source, predicted, and timed of what was made; nothing before
    it is made."""
    seconds = told.get("seconds") or {}
    if not seconds.get("candidate"):
        return []

    def ms(whose: str, key: str) -> str:
        one = (seconds.get(whose) or {}).get(key)
        return f"{number(None if one is None else 1000 * one, 1)} ms"

    return [
        (name, ms("source", key), ms("predicted", key), ms("candidate", key))
        for key, name in _TIMED.items()
    ]


def _sentence(tuned: Tuned) -> str:
    clip = f"a clip of {number(tuned.clip_seconds)} s, {number(tuned.at_once)} at once"
    return (
        f"Chosen for {_SCENARIOS[tuned.scenario]} on {tuned.device_name}; times are of {clip}. "
        "Loss is the divergence expected of the next token, in nats a token."
    )


def _rows(tuned: Tuned) -> list[tuple[str, str, str, str]]:
    named = {"chosen": tuned.chosen, **tuned.uniform}
    return [
        ("unquantized" if name == "none" else name, _milliseconds(one), megabytes(one.bytes),
         number(one.loss, 5))
        for name, one in named.items()
    ]  # fmt: skip


def _milliseconds(one: Point) -> str:
    return f"{number(1000 * one.seconds)} ms"


def _plot(tuned: Tuned) -> Markup:
    """Plot loss against what was to be least."""
    points = [*tuned.front, *tuned.uniform.values(), tuned.chosen]
    across = _axis([_cost(tuned, one) for one in points], _LEFT, _WIDTH - _RIGHT)
    up = _axis([one.loss for one in points], _HEIGHT - _BOTTOM, _TOP)

    def at(one: Point) -> tuple[float, float]:
        return across.at(_cost(tuned, one)), up.at(one.loss)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, tuned.front))
    parts = [*_scales(tuned, across, up), tag("polyline", points=path, class_="front", fill="none")]
    parts += [_mark("a choice that nothing beats", one, at(one), "own", 3) for one in tuned.front]
    parts += [_mark(name, one, at(one), "source", 4.5) for name, one in tuned.uniform.items()]
    parts.append(_mark("chosen", tuned.chosen, at(tuned.chosen), "candidate", 6))
    return picture(_WIDTH, _HEIGHT, "Cost and loss of choices of bits by layer", *parts)


def _cost(tuned: Tuned, one: Point) -> float:
    """In megabytes or milliseconds."""
    return one.bytes / 1e6 if tuned.scenario == "memory" else 1000 * one.seconds


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    more = _AROUND * (high - low) or max(abs(high), 1e-6)
    return Axis(low - more, high + more, start, end)


def _mark(name: str, one: Point, at: tuple[float, float], class_: str, size: float) -> Markup:
    told = f"{name}: {_milliseconds(one)}, {megabytes(one.bytes)}, loss {number(one.loss, 5)}"
    circle = tag("circle", cx=at[0], cy=at[1], r=float(size), class_=class_)
    return tag("g", tag("title", told), circle)


def _scales(tuned: Tuned, across: Axis, up: Axis) -> list[Markup]:
    bottom, unit = _HEIGHT - _BOTTOM, "MB" if tuned.scenario == "memory" else "ms"
    parts = [line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "base")]
    for value in _ticks(across):
        label = f"{value:g}"
        parts.append(text(across.at(value), bottom + 16, label, "tick", "middle"))
    for value in _ticks(up):
        parts.append(line(_LEFT, up.at(value), _WIDTH - _RIGHT, up.at(value), "grid"))
        parts.append(text(_LEFT - 6, up.at(value) + 4, f"{value:g}", "tick", "end"))
    of = "of weights" if unit == "MB" else "a clip"
    parts.append(text(_WIDTH - _RIGHT, _HEIGHT - 4, f"{unit} {of}", "tick", "end"))
    return [*parts, text(4, _TOP + 2, "loss", "tick")]


def _ticks(axis: Axis) -> list[float]:
    return [value for value, _ in axis.ticks()]
