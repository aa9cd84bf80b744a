"""Figures as people read them. What is None, or not a number, is a dash."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from app.languages import NAMES

MISSING = "–"
_MINUS = "\N{MINUS SIGN}"


class Estimate(Protocol):
    """A value with its 95 % confidence interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def number(value: float | None, digits: int = 0) -> str:
    """Write a number: 1,234.5."""
    if value is None or not math.isfinite(value):
        return MISSING
    written = f"{value:,.{digits}f}"
    if float(written.replace(",", "")) == 0:
        written = written.removeprefix("-")
    return written.replace("-", _MINUS)


def percent(share: float | None, digits: int = 2) -> str:
    written = number(None if share is None else 100 * share, digits)
    return written if written == MISSING else f"{written}%"


def change(before: float | None, after: float | None, digits: int = 1) -> str:
    """Write by how much something grew: −70.4%."""
    if not before or after is None:
        return MISSING
    written = percent(after / before - 1, digits)
    return f"+{written}" if after > before and written != percent(0, digits) else written


def signed(value: float | None, digits: int = 4) -> str:
    written = number(value, digits)
    return f"+{written}" if value is not None and value > 0 else written


def megabytes(size: float | None) -> str:
    """Write bytes as megabytes of a million bytes."""
    if size is None:
        return MISSING
    return f"{number(size / 1e6, 1 if size < 1e8 else 0)} MB"


def duration(seconds: float | None) -> str:
    """Write a duration: 2 h 03 min, 4 min 05 s, 5.2 s."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def day(moment: float | None) -> str:
    """Write Unix seconds as a date."""
    if moment is None:
        return MISSING
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def language_name(code: str) -> str:
    """Return a code's language in English; an unknown code stands for itself."""
    return NAMES.get(code, code).title() if code in NAMES else code


def html_lang(code: str) -> str:
    """Return the language tag by which browsers choose the font: Chinese is Traditional here unless
    the code says otherwise."""
    return {"zh": "zh-Hant", "yue": "yue-Hant"}.get(code, code)


def several(count: int, one: str) -> str:
    """Write a count: 1 recording, 2 recordings."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "percent": percent,
    "signed": signed,
    "megabytes": megabytes,
    "duration": duration,
    "language_name": language_name,
    "html_lang": html_lang,
    "several": several,
}
