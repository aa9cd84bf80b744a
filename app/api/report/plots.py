"""The plots of a report: from figures to SVG."""

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from app.api.report.figures import Layer
from app.api.report.svg import Axis, line, picture, tag, text
from app.api.report.verdict import Language
from app.api.report.wording import Estimate, percent

_WIDTH = 460.0  # drawn about as wide, so that text in a plot is as large as beside it
_NAMES, _FIGURES = 74.0, 78.0  # gutters left and right
_TOP, _BOTTOM = 8.0, 30.0
_LONGEST_NAME = 7
_MOST_RECOVERY = 1.5  # drawn; a candidate may err far less than a source that hardly errs


def draws(plot: str, what: str) -> bool:
    """Whether something of this class is in a plot: a legend has no key to what is not."""
    return f'class="{what}"' in plot


def error_rates(languages: Sequence[Language]) -> Markup:
    """Plot source beside candidate, with intervals, and the highest rate allowed."""
    measured = [one.proof.source[one.proof.metric] for one in languages]
    measured += [one.proof.candidate[one.proof.metric] for one in languages]
    highest = max((one.high for one in measured), default=0.0)
    # A limit far off would squeeze what was measured.
    near = [one.highest for one in languages if one.highest and one.highest <= 2 * highest]
    axis = _axis(0.0, 1.08 * max([highest, *near, 0.001]))
    return _rows("Error rates by language", languages, 54.0, axis, _error_rate)


def _error_rate(one: Language, axis: Axis, top: float, height: float) -> list[Markup]:
    metric, parts = one.proof.metric, []
    both = {"source": one.proof.source[metric], "candidate": one.proof.candidate[metric]}
    for number, (role, rate) in enumerate(both.items()):
        y, thick = top + 6 + number * 20, 16.0
        told = f"{one.code} {role}: {metric.upper()} {_told(rate)}"
        bar = tag(
            "rect", x=axis.start, y=y, width=axis.at(rate.value) - axis.start, height=thick,
            class_=role,
        )  # fmt: skip
        figure = text(axis.end + 8, y + 12, percent(rate.value), f"figure {role}")
        parts.append(tag("g", tag("title", told), bar, *_whisker(rate, axis, y + 8), figure))
    return [*parts, *_limit(one.highest, axis, top, height, f"{metric.upper()} at most")]


def recoveries(languages: Sequence[Language]) -> Markup:
    """Plot each language's recovery with its interval, and the least that is allowed."""
    kept = [one.proof.recovery for one in languages]
    lowest = [one.low for one in kept] + [one.lowest for one in languages if one.lowest is not None]
    low, high = min([1.0, *lowest]), max([1.0, *(one.high for one in kept)])
    span = max(min(high, _MOST_RECOVERY) - low, 0.05)
    axis = _axis(max(0.0, low - 0.06 * span), min(high, _MOST_RECOVERY) + 0.06 * span)
    return _rows("Recovery by language", languages, 36.0, axis, _recovery)


def _recovery(one: Language, axis: Axis, top: float, height: float) -> list[Markup]:
    kept, middle = one.proof.recovery, top + height / 2
    x, parts = axis.at(kept.value), [tag("title", f"{one.code}: recovery {_told(kept)}")]
    parts += _whisker(kept, axis, middle)
    if kept.value > axis.high:
        tip = f"{x:.1f},{middle:.1f} {x - 9:.1f},{middle - 6:.1f} {x - 9:.1f},{middle + 6:.1f}"
        parts.append(tag("polygon", points=tip, class_="candidate"))
    else:
        parts.append(tag("circle", cx=x, cy=middle, r=5, class_="candidate"))
    parts.append(text(axis.end + 8, middle + 4, percent(kept.value, 1), "figure"))
    whole = line(axis.at(1.0), top, axis.at(1.0), top + height, "whole")
    return [whole, *_limit(one.lowest, axis, top, height, "recovery at least"), tag("g", *parts)]


def _axis(low: float, high: float) -> Axis:
    return Axis(low, high, _NAMES, _WIDTH - _FIGURES)


def _rows(
    told: str,
    languages: Sequence[Language],
    height: float,
    axis: Axis,
    draw: Callable[[Language, Axis, float, float], list[Markup]],
) -> Markup:
    """Plot a language a row, over an axis of percentages."""
    bottom = _TOP + height * len(languages)
    parts = []
    for value, label in axis.ticks():
        parts.append(line(axis.at(value), _TOP, axis.at(value), bottom, "grid"))
        parts.append(text(axis.at(value), bottom + 18, label, "tick", "middle"))
    for number, one in enumerate(languages):
        top = _TOP + number * height
        name = one.code if len(one.code) <= _LONGEST_NAME else one.code[: _LONGEST_NAME - 1] + "…"
        middle = top + height / 2
        parts.append(text(axis.start - 8, middle - 1, name, "name", "end"))
        parts.append(text(axis.start - 8, middle + 13, one.proof.metric.upper(), "tick", "end"))
        parts += draw(one, axis, top, height)
    parts.append(line(axis.start, _TOP, axis.start, bottom, "base"))
    return picture(_WIDTH, bottom + _BOTTOM, told, *parts)


def _whisker(one: Estimate, axis: Axis, y: float) -> list[Markup]:
    low, high = axis.at(one.low), axis.at(one.high)
    ends = [v for v in (one.low, one.high) if axis.low <= v <= axis.high]
    caps = [line(axis.at(v), y - 4, axis.at(v), y + 4, "whisker") for v in ends]
    return [line(low, y, high, y, "whisker"), *caps]


def _limit(value: float | None, axis: Axis, top: float, height: float, told: str) -> list[Markup]:
    """Return a line across a row; nothing where the limit is none, or off the axis."""
    if value is None or not axis.low <= value <= axis.high:
        return []
    x, title = axis.at(value), tag("title", f"{told} {percent(value)}")
    return [tag("g", title, line(x, top + 2, x, top + height - 2, "limit"))]


def _told(one: Estimate) -> str:
    return f"{percent(one.value)}, 95 % interval {percent(one.low)} to {percent(one.high)}"


def layers(stacks: Mapping[str, Sequence[Layer]]) -> dict[str, Markup]:
    """Plot each stack to one scale: lines are errors of layers' outputs, bars what a layer adds by
    itself."""
    errors = [max(one.error, one.own or 0.0) for stack in stacks.values() for one in stack]
    highest = 1.08 * max([*errors, 0.001])
    return {name: _stack(name, stack, highest) for name, stack in stacks.items()}


def _stack(name: str, stack: Sequence[Layer], highest: float) -> Markup:
    left, right, bottom = 60.0, _WIDTH - 10, 190.0
    up, slot = Axis(0.0, highest, bottom, 12.0), (right - left) / len(stack)
    parts = []
    for value, label in up.ticks():
        parts.append(line(left, up.at(value), right, up.at(value), "grid"))
        parts.append(text(left - 6, up.at(value) + 4, label, "tick", "end"))
    every = -(-len(stack) // 12)
    points = []
    for place, one in enumerate(stack):
        x = left + (place + 0.5) * slot
        points.append((x, up.at(one.error)))
        parts.append(_layer(name, one, up, x, slot))
        if place % every == 0:
            parts.append(text(x, bottom + 17, one.number[:6], "tick", "middle"))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(tag("polyline", points=path, class_="handed-on"))
    radius = min(3.0, 0.3 * slot)
    parts += [tag("circle", cx=x, cy=y, r=radius, class_="candidate") for x, y in points]
    parts.append(line(left, bottom, right, bottom, "base"))
    parts.append(text((left + right) / 2, bottom + 36, f"{name[:20]} layer", "tick", "middle"))
    return picture(_WIDTH, bottom + 44, f"Relative output error by {name} layer", *parts)


def _layer(name: str, one: Layer, up: Axis, x: float, slot: float) -> Markup:
    """Return a layer's bar, with the text that is shown where one points."""
    told = f"{name}.{one.number}: {percent(one.error)}"
    if one.own is not None:
        told += f", by itself {percent(one.own)}"
    y, wide = up.at(one.own or 0.0), 0.64 * slot
    column = tag(
        "rect", x=x - slot / 2, y=up.end, width=slot, height=up.start - up.end, class_="hover"
    )
    bar = tag("rect", x=x - wide / 2, y=y, width=wide, height=up.start - y, class_="own")
    return tag("g", tag("title", told), column, *([] if one.own is None else [bar]))
