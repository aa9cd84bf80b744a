"""The text of a cue: how much a reader gets through at once, and where a longer one is divided."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from app.transcription.line_breaks import columns, is_wide, wrap

# What broadcasters have in common (BBC, Netflix): 42 columns a line, or 16 characters where each
# takes two columns, and no cue so short or so full that it cannot be read, nor one that outlives
# what it says.
LINES = 2
_WIDTH, _WIDE_WIDTH = 42, 32  # columns
LONGEST_MS, SHORTEST_MS = 7000, 1000
LETTERS_A_SECOND = 20
_ENDS_CLAUSE = set(".,;:?!…。，、；：？！")
_NEAR = 0.25  # of its share is how much more or less a cue has where that ends a clause


@dataclass(frozen=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def line_width(text: str) -> int:
    """Return the columns of a readable line, by the script that most of a text is in."""
    return _WIDE_WIDTH if 2 * sum(map(is_wide, text)) > len(text) else _WIDTH


def least_cues(text: str, width: int) -> int:
    """Return how many cues a text needs at the least, by its columns."""
    return max(1, -(-columns(text) // (LINES * width)))


def least_cues_of(length_ms: int) -> int:
    """Return how many cues a time needs at the least."""
    return max(1, -(-length_ms // LONGEST_MS))


def in_cues(lines: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return consecutive lines in groups of `size`."""
    return [tuple(lines[i : i + size]) for i in range(0, len(lines), size)]


def divided(pieces: Sequence[str], sizes: Iterable[int], count: int) -> list[slice]:
    """Return the pieces in so many parts, or fewer, about as large as each other by the pieces'
    sizes; each ends with a clause, if one ends near there."""
    large = list(accumulate(sizes))
    share, ends = large[-1] / count, [0]
    for target in (share * number for number in range(1, count)):

        def distance(end: int, target: float = target) -> float:
            off = abs(large[end - 1] - target)
            return off - _NEAR * share * (pieces[end - 1].rstrip()[-1:] in _ENDS_CLAUSE)

        ends.append(min(range(ends[-1] + 1, len(pieces)), key=distance, default=len(pieces)))
    return [slice(a, b) for a, b in pairwise((*ends, len(pieces))) if a < b]


def balanced(text: str, width: int) -> list[str]:
    """Return the lines of a text, of about the same width where there are two."""
    lines = wrap(text, width)
    if len(lines) != LINES:
        return lines
    for narrower in range(-(-columns(text) // LINES), width):
        if len(tried := wrap(text, narrower)) == LINES:
            return tried
    return lines
