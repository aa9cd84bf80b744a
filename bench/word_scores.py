"""How far off the times of words are, and what else is wrong with them, by what was said and when.

Words are compared as they are normalized, one by one; of those that are the same, in the alignment
of fewest edits, the times are compared. Of Chinese, characters are compared: a word of several
begins with its first one and ends with its last.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, reduce
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import Levenshtein

from app.recordings.error_rates import normalized
from app.recordings.writing_systems import UNSPACED
from bench.recordings import Sentence
from bench.scores import edits, said_twice
from bench.transcribers import Heard
from bench.word_recordings import Timed

FAR = 0.2  # seconds
_WITHIN_A_GAP = 0.5  # seconds of a gap that no word should reach over
_ROUNDED = 0.0015  # seconds: times are told in milliseconds


@dataclass(frozen=True)
class Score:
    """said, matched: words of the reference, and those that are heard the same. starts, ends: how
    much later than in the reference, in seconds, of each that can be compared. missing, twice:
    words. overlapping: words that begin before the one before ends; backward: that begin before
    the one before begins, or end before they begin. in_a_gap: words whose middle lies where nobody
    speaks for half a second; over_a_gap: others that reach over half a second of it. unlike:
    recordings whose words are not their text."""

    said: int
    matched: int
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    missing: int
    twice: int
    overlapping: int
    backward: int
    in_a_gap: int
    over_a_gap: int
    unlike: int

    @property
    def late(self) -> float:
        """Seconds that words begin late, in the median, early ones below 0; nan without any."""
        return float(np.median(self.starts)) if self.starts else float("nan")


def score(one: Timed, heard: Heard) -> Score:
    """Compare the words of a transcript with those of a recording."""
    as_text = Heard((Sentence(0, 0, text_of(heard.words, one.case.language)),), "", 0)
    equal = _equal(one, heard.words)
    return Score(
        said=len(one.words),
        matched=len({mine.word for mine, _ in equal}),
        starts=tuple(
            heard.words[its.word].start - one.words[mine.word].start
            for mine, its in equal
            if mine.is_first and its.is_first
        ),
        ends=tuple(
            heard.words[its.word].end - one.words[mine.word].end
            for mine, its in equal
            if mine.is_last and its.is_last
        ),
        missing=edits(one.case, as_text).left_out,
        twice=said_twice(one.case, as_text, fewest=1),
        overlapping=sum(b.start < a.end - _ROUNDED for a, b in pairwise(heard.words)),
        backward=_backward(heard.words),
        in_a_gap=sum(is_in_a_gap(word, one.gaps) for word in heard.words),
        over_a_gap=sum(is_over_a_gap(word, one.gaps) for word in heard.words),
        unlike=int(not _are_the_text(heard)),
    )


def total(several: Sequence[Score]) -> Score:
    """Return the score of several recordings together."""
    return reduce(_sum, several)


def _sum(one: Score, other: Score) -> Score:
    return Score(
        *(getattr(one, field.name) + getattr(other, field.name) for field in fields(Score))
    )


def off(errors: Iterable[float], share: float) -> float:
    """Return the quantile of the errors' sizes, in seconds; nan where there are none."""
    sizes = np.abs(list(errors))
    return float(np.quantile(sizes, share)) if len(sizes) else float("nan")


def is_in_a_gap(word: Sentence, gaps: Iterable[tuple[float, float]]) -> bool:
    middle = (word.start + word.end) / 2
    return any(begin < middle < end for begin, end in gaps)


def is_over_a_gap(word: Sentence, gaps: Sequence[tuple[float, float]]) -> bool:
    within = (min(end, word.end) - max(begin, word.start) for begin, end in gaps)
    return not is_in_a_gap(word, gaps) and any(one >= _WITHIN_A_GAP for one in within)


@dataclass(frozen=True)
class _Piece:
    """What is compared: a normalized word, or a character. `word`: the number of the word that it
    is of, and whether it is the first and the last of it."""

    text: str
    word: int
    is_first: bool
    is_last: bool


def _equal(one: Timed, heard: Sequence[Sentence]) -> list[tuple[_Piece, _Piece]]:
    """Return the pieces of the reference that are heard, each with what is heard."""
    mine, its = (list(_pieces(words, one.case.language)) for words in (one.words, heard))
    blocks = Levenshtein.opcodes([piece.text for piece in mine], [piece.text for piece in its])
    return [
        pair
        for block in blocks
        if block.tag == "equal"
        for pair in zip(
            mine[block.src_start : block.src_end],
            its[block.dest_start : block.dest_end],
            strict=True,
        )
    ]


def _pieces(words: Sequence[Sentence], language: str) -> Iterator[_Piece]:
    for number, word in enumerate(words):
        several = _normalized(word.text, language)
        for place, text in enumerate(several, 1):
            yield _Piece(text, number, place == 1, place == len(several))


@cache
def _normalized(word: str, language: str) -> tuple[str, ...]:
    plain = normalized(word, language)
    return tuple(plain.replace(" ", "") if language in UNSPACED else plain.split())


def text_of(words: Iterable[Sentence], language: str) -> str:
    """Return words as a text, whether or not they have spaces of their own."""
    return ("" if language in UNSPACED else " ").join(word.text.strip() for word in words)


def _are_the_text(heard: Heard) -> bool:
    """Whether the words have the letters and digits of the segments, and no others: some leave out
    a word's space, others its punctuation."""
    words, text = (
        "".join(letter for part in parts for letter in part.text if letter.isalnum())
        for parts in (heard.words, heard.segments)
    )
    return words == text


def _backward(words: Sequence[Sentence]) -> int:
    back = sum(b.start < a.start - _ROUNDED for a, b in pairwise(words))
    return back + sum(word.end < word.start for word in words)
