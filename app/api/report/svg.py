"""SVG elements and axes. Colours are the page's, by class."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from app.api.report.wording import percent


def tag(name: str, /, *inside: str, **attributes: object) -> Markup:
    """Return an element, its texts and attributes escaped. class_ is class, text_anchor is
    text-anchor, and floats are in tenths, which is fine enough for a screen."""
    given = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{one:.1f}" if isinstance(one, float) else one
        )
        for key, one in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, Markup("").join(inside))


def picture(width: float, height: float, told: str, *inside: Markup) -> Markup:
    """Return a whole plot; `told` describes it for those who cannot see it."""
    box = f"0 0 {width:.0f} {height:.0f}"
    return tag("svg", *inside, viewBox=box, role="img", aria_label=told)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def text(x: float, y: float, said: str, class_: str = "", anchor: str = "start") -> Markup:
    return tag("text", said, x=float(x), y=float(y), class_=class_, text_anchor=anchor)


@dataclass(frozen=True)
class Axis:
    """An axis of values `low` to `high` between the coordinates `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return a value's coordinate; what is off the axis is at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def step(self) -> float:
        """The distance between ticks: 1, 2 or 5 times a power of ten, for about five ticks."""
        raw = (self.high - self.low) / 5
        power: float = 10.0 ** math.floor(math.log10(raw))
        return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the ticks' values, and their labels."""
        step = self.step
        digits = max(0, -math.floor(math.log10(100 * step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        return [(n * step, percent(n * step, digits)) for n in range(first, last + 1)]
