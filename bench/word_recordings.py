"""Recordings with the time of each word, for bench/words.py.

They are demo/recordings/words, and sentences of these anew, with long silences between them or
without any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.environment import DEMO
from bench.recordings import Case, Sentence, cut, joined, manifest, read_case

WORDS = DEMO / "recordings" / "words"
_LEAST_GAP = 0.5  # seconds
_SEVERAL_VOICES = ", "
_FEW, _MORE = 30, 50  # sentences


@dataclass(frozen=True)
class Timed:
    """A recording and its words (of Chinese: its characters), each with its time, and the row of
    the table that it counts in."""

    row: str
    case: Case
    words: tuple[Sentence, ...]

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Where nobody speaks for more than half a second, in seconds."""
        ends = [0.0, *(word.end for word in self.words)]
        starts = [*(word.start for word in self.words), self.case.seconds]
        return [(a, b) for a, b in zip(ends, starts, strict=True) if b - a > _LEAST_GAP]


def timed() -> Iterator[Timed]:
    """Yield all recordings."""
    told = list(_told())
    yield from told
    level = next(one for one in told if one.case.name == "level")
    yield anew("long silences", level, _FEW, pauses=(0.3, 0.3, 8.0))
    yield anew("without a pause", level, _MORE, pauses=(0.0,))


def _told() -> Iterator[Timed]:
    """Yield the recordings of the manifest."""
    for told in manifest(WORDS):
        name = str(told["audio"]).removesuffix(".ogg")
        others = told["language"] == "en" and _SEVERAL_VOICES in told["voice"]
        row = "other voices" if others else str(told["condition"])
        words = tuple(Sentence(*one) for one in told["words"])
        yield Timed(row, read_case(name, WORDS, told), words)


def anew(name: str, one: Timed, many: int, pauses: Sequence[float]) -> Timed:
    """Return the first so many sentences of a recording with other pauses between them."""
    case = joined(name, list(cut(one.case))[:many], pauses)
    moved = (
        Sentence(word.start + new.start - old.start, word.end + new.start - old.start, word.text)
        for old, new in zip(one.case.sentences, case.sentences, strict=False)
        for word in one.words
        if old.start <= word.start < old.end
    )
    return Timed(name, case, tuple(moved))
