"""Errors of words' times, on recordings whose words have known ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel
from rapidfuzz.distance import Levenshtein

from app.recordings.error_rates import normalized


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and when it is said, in seconds from the recording's start."""

    start: float
    end: float
    text: str


class WordTimes(BaseModel):
    """Errors of the starts of words, in milliseconds. words: those that were heard as they were
    said, of `said`; the others have no error."""

    words: int
    said: int
    median_ms: float
    p95_ms: float


def matches(said: Sequence[str], heard: Sequence[str], language: str) -> list[tuple[int, int]]:
    """Return the numbers of the words that were heard as they were said, each with that of what was
    heard for it."""
    sides = [[normalized(word, language) for word in several] for several in (said, heard)]
    return [
        (block.src_start + n, block.dest_start + n)
        for block in Levenshtein.opcodes(*sides)
        if block.tag == "equal"
        for n in range(block.src_end - block.src_start)
    ]


def start_errors(
    said: Sequence[TimedWord], heard: Sequence[TimedWord], language: str
) -> list[float]:
    """Return by how many seconds the starts of a recording's words are off, whichever way."""
    same = matches([word.text for word in said], [word.text for word in heard], language)
    return [abs(said[a].start - heard[b].start) for a, b in same]


def word_times(errors: Sequence[float], said: int) -> WordTimes | None:
    """Sum errors up, in seconds, of `said` words; None where there are none."""
    if not errors:
        return None
    median, p95 = 1000 * np.quantile(errors, [0.5, 0.95])
    return WordTimes(
        words=len(errors), said=said, median_ms=round(float(median), 1),
        p95_ms=round(float(p95), 1),
    )  # fmt: skip
