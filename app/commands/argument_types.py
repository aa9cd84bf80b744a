"""Types of what can be given on the command line, named as argparse tells them."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def count(text: str) -> int:
    """Read a number of things. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


count.__name__ = "number (1 or more)"


def _number(name: str, is_one: Callable[[float], bool]) -> Callable[[str], float]:
    """Return what reads such a number; nan is in no bounds."""

    def read(text: str) -> float:
        number = float(text)
        if not is_one(number):
            raise ValueError(text)
        return number

    read.__name__ = name
    return read


positive = _number("number above 0", lambda number: 0 < number < 1_000_000)
gigabytes = _number("number of GB", lambda number: 0 < number < 10_000)
days = _number("number of days", lambda number: 0 <= number < 1_000_000)
share = _number("share (0 to 1)", lambda number: 0 <= number <= 1)


def several(one: Callable[[str], T], name: str) -> Callable[[str], tuple[T, ...]]:
    """Return what reads a list of such, with commas between them."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(one(part) for part in text.split(","))

    read.__name__ = name
    return read
