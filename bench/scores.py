"""What a transcript lost, invented and misplaced, by what was said and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rapidfuzz.distance import Levenshtein

from app.recordings.error_rates import normalized
from app.recordings.writing_systems import UNSPACED
from bench.recordings import Case
from bench.transcribers import Heard

_PHRASE = 2  # words: one alone is also a way to spell
_NEAR = 20.0  # seconds that a sentence may be off and still be the same one
_NEAR_CUT = 2.0  # seconds


@dataclass(frozen=True)
class Edits:
    """Words, or characters, of the reference, and how many were exchanged, left out and put in."""

    units: int
    exchanged: int
    left_out: int
    put_in: int


@dataclass(frozen=True)
class _Run:
    """Words of the reference, from number `begin` on, and what stands for them."""

    begin: int
    reference: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def is_respelt(self) -> bool:
        """Whether these are as many letters in more or fewer words, as "halfway" is of "half
        way"."""
        before, after = len("".join(self.reference)), len("".join(self.said))
        return min(before, after) * 4 >= max(before, after) * 3

    @property
    def left_out(self) -> int:
        return 0 if self.is_respelt else max(0, len(self.reference) - len(self.said))

    @property
    def put_in(self) -> int:
        return 0 if self.is_respelt else max(0, len(self.said) - len(self.reference))

    @property
    def exchanged(self) -> int:
        return max(len(self.reference), len(self.said)) - self.left_out - self.put_in


def edits(case: Case, heard: Heard) -> Edits:
    """Compare a transcript with what was said."""
    runs = _runs(case, heard)
    return Edits(
        len(units(case, _reference(case))),
        sum(run.exchanged for run in runs),
        sum(run.left_out for run in runs),
        sum(run.put_in for run in runs),
    )


def _runs(case: Case, heard: Heard) -> list[_Run]:
    """What differs, from one word that is right to the next."""
    reference, said = units(case, _reference(case)), units(case, _said(heard))
    blocks = Levenshtein.opcodes(reference, said)
    return [
        _joined([(o.src_start, o.src_end, o.dest_start, o.dest_end) for o in run], reference, said)
        for is_equal, run in groupby(blocks, lambda one: one.tag == "equal")
        if not is_equal
    ]


def _joined(
    run: Sequence[tuple[int, int, int, int]], reference: list[str], said: list[str]
) -> _Run:
    (begin, _, dest, _), (_, end, _, dest_end) = run[0], run[-1]
    return _Run(begin, tuple(reference[begin:end]), tuple(said[dest:dest_end]))


def left_out_near_cuts(case: Case, heard: Heard) -> tuple[int, int]:
    """Count the words within two seconds of where decoding began anew, those that were left out and
    all. A word's time is by its place in its sentence."""
    times = list(_times(case))
    cuts = heard.begun[1:]

    def is_near(number: int) -> bool:
        return any(abs(times[number] - cut) < _NEAR_CUT for cut in cuts)

    near = sum(map(is_near, range(len(times))))
    lost = [run for run in _runs(case, heard) if run.left_out]
    return sum(run.left_out for run in lost if is_near(run.begin)), near


def _times(case: Case) -> Iterator[float]:
    """The middle of each word of the reference, in seconds."""
    for one in case.sentences:
        count = len(units(case, one.text))
        for number in range(count):
            yield one.start + (one.end - one.start) * (number + 0.5) / count


def units(case: Case, text: str) -> list[str]:
    """The words of a text, or its characters, as they are compared."""
    plain = normalized(text, case.language)
    if case.is_counted_in_characters or case.language in UNSPACED:
        return list(plain.replace(" ", ""))
    return plain.split()


def said_twice(case: Case, heard: Heard, fewest: int = _PHRASE) -> int:
    """Count the words that were put in and are those just before or behind them, `fewest` of them
    together at least."""
    reference, said = units(case, _reference(case)), units(case, _said(heard))
    put_in = [op.dest_pos for op in Levenshtein.editops(reference, said) if op.tag == "insert"]
    count = 0
    for _, run in groupby(enumerate(put_in), lambda one: one[1] - one[0]):
        places = [place for _, place in run]
        begin, end, size = places[0], places[-1] + 1, len(places)
        same = said[begin:end] in (said[max(0, begin - size) : begin], said[end : end + size])
        count += size * (same and size >= fewest)
    return count


def time_errors(case: Case, heard: Heard) -> Iterator[tuple[float, float]]:
    """Yield how far off start and end of each sentence are that is a segment by itself."""
    left = [(one, units(case, one.text)) for one in heard.segments]
    for one in case.sentences:
        said = units(case, one.text)
        near = [other for other in left if abs(other[0].start - one.start) < _NEAR]
        same = [other for other in near if other[1] == said]
        if same:
            nearest = min(same, key=lambda other: abs(other[0].start - one.start))
            left.remove(nearest)
            yield abs(nearest[0].start - one.start), abs(nearest[0].end - one.end)


def _reference(case: Case) -> str:
    return " ".join(one.text for one in case.sentences)


def _said(heard: Heard) -> str:
    return " ".join(one.text for one in heard.segments)
