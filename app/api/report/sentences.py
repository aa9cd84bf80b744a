"""Recordings whose transcripts differ between candidate and source, with the differences marked."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rapidfuzz.distance import Levenshtein

from app.quantization.proof import Proof, Sentence
from app.recordings.writing_systems import CHINESE, simplified

_MOST = 20
_APOSTROPHES = "'’"
_WITHOUT_APOSTROPHES = str.maketrans("", "", _APOSTROPHES)
Kind = Literal["same", "ins", "del"]


@dataclass(frozen=True)
class Run:
    """A stretch of text: transcribed as said, transcribed and not said, or said and not
    transcribed."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Case:
    """A recording with the transcripts of source and candidate, marked against what was said."""

    said: Sentence
    unit: str
    source: list[Run]
    candidate: list[Run]


@dataclass(frozen=True)
class Cases:
    """How many recordings there are of each kind, and the clearest of those that differ."""

    worse: int
    better: int
    same: int
    worst: list[Case]
    best: list[Case]


def cases(proof: Proof) -> Cases:
    changes = [(one.candidate_errors - one.source_errors, one) for one in proof.sentences]
    # More errors first; among as many, those in the shorter recording.
    worse = sorted((c for c in changes if c[0] > 0), key=lambda c: (-c[0], c[1].units))
    better = sorted((c for c in changes if c[0] < 0), key=lambda c: (c[0], c[1].units))
    return Cases(
        worse=len(worse),
        better=len(better),
        same=len(changes) - len(worse) - len(better),
        worst=[_case(proof, one) for _, one in worse[:_MOST]],
        best=[_case(proof, one) for _, one in better[:_MOST]],
    )


def _case(proof: Proof, one: Sentence) -> Case:
    judged = proof.languages.get(one.language)
    by_words = judged is None or judged.metric == "wer"
    folded = one.language in CHINESE
    return Case(
        said=one,
        unit="word" if by_words else "character",
        source=marked(one.text, one.source, by_words=by_words, fold_script=folded),
        candidate=marked(one.text, one.candidate, by_words=by_words, fold_script=folded),
    )


@dataclass(frozen=True)
class _Unit:
    """A word or character, with the text before it. key: the unit without what is style."""

    before: str
    text: str
    key: str


def marked(reference: str, heard: str, *, by_words: bool, fold_script: bool = False) -> list[Run]:
    """Mark a transcript against its reference: the transcript whole, with what is missing put where
    it belongs. Case, punctuation, width and, where `fold_script`, Chinese script are style and make
    no difference."""
    said, _ = _units(reference, by_words, fold_script)
    found, tail = _units(heard, by_words, fold_script)
    runs: list[Run] = []
    for one in Levenshtein.opcodes([one.key for one in said], [one.key for one in found]):
        missing, there = said[one.src_start : one.src_end], found[one.dest_start : one.dest_end]
        before = there[0].before if there else ""
        runs.append(Run("same", before or (" " if by_words and runs else "")))
        if one.tag == "equal":
            runs.append(Run("same", _joined(there)))
            continue
        if missing:
            runs.append(Run("del", _joined(missing)))
        if missing and there and by_words:
            runs.append(Run("same", " "))
        if there:
            runs.append(Run("ins", _joined(there)))
    return _merged([*runs, Run("same", tail)])


def _joined(units: Sequence[_Unit]) -> str:
    """Join units, without the text before the first."""
    return units[0].text + "".join(one.before + one.text for one in units[1:])


def _merged(runs: Sequence[Run]) -> list[Run]:
    """Merge neighbours of a kind, and drop empty ones."""
    groups = groupby((one for one in runs if one.text), lambda one: one.kind)
    return [Run(kind, "".join(one.text for one in group)) for kind, group in groups]


def _units(text: str, by_words: bool, fold_script: bool) -> tuple[list[_Unit], str]:
    """Return a text's units, and the text after the last."""
    folded = simplified(text) if fold_script else text
    if len(folded) != len(text):  # a character of one script is one of the other, but for rarities
        folded = text
    units: list[_Unit] = []
    before = ""
    for start, end in _spans(text, by_words):
        if any(_counts(letter) for letter in text[start:end]):
            key = unicodedata.normalize("NFKC", folded[start:end]).casefold()
            units.append(_Unit(before, text[start:end], key.translate(_WITHOUT_APOSTROPHES)))
            before = ""
        else:
            before += text[start:end]
    return units, before


def _spans(text: str, by_words: bool) -> list[tuple[int, int]]:
    """Return where a text's words or characters are, and what is between them."""
    if not by_words:
        return [(n, n + 1) for n in range(len(text))]
    kinds = [_counts(one) or one in _APOSTROPHES for one in text]
    places = groupby(range(len(text)), lambda n: kinds[n])
    stretches = [list(stretch) for _, stretch in places]
    return [(stretch[0], stretch[-1] + 1) for stretch in stretches]


def _counts(letter: str) -> bool:
    """Whether a letter is part of what is said: no space, punctuation or symbol."""
    return unicodedata.category(letter)[0] in "LMN"
