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


def positive(text: str) -> float:
    """Read a number above 0. Raises ValueError."""
    number = float(text)
    if not 0 < number < 1_000_000:  # nor nan
        raise ValueError(text)
    return number


positive.__name__ = "number above 0"


def several(one: Callable[[str], T], name: str) -> Callable[[str], tuple[T, ...]]:
    """Return what reads a list of such, with commas between them."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(one(part) for part in text.split(","))

    read.__name__ = name
    return read
