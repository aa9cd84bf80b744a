"""Cues of segments whose words have times: each is shown from its first word to its last."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from app.models.base import Word
from app.transcription.cue_texts import (
    LINES,
    LONGEST_MS,
    Cue,
    balanced,
    divided,
    in_cues,
    least_cues,
    least_cues_of,
    line_width,
)
from app.transcription.line_breaks import columns, units, wrap

# A shorter time without a cue flickers (BBC Subtitle Guidelines: at least one second, preferably
# a second and a half): cues are shown until the next one, or apart by that.
_PAUSE_MS = 1500


def text_of(words: Sequence[Word]) -> str:
    """Return the text of words with single spaces."""
    return " ".join("".join(word.text for word in words).split())


def timed(words: Sequence[Word], groups: Sequence[tuple[str, ...]]) -> Iterator[Cue]:
    """Yield consecutive cues of the words' text, which the groups of lines are, by when their words
    are said."""
    spoken, told = _Spoken(words), 0
    for group in groups:
        begun, told = told, told + sum(map(_letters, group))
        yield Cue(spoken.start_ms(begun), spoken.end_ms(told), group)


def readable(words: Sequence[Word]) -> list[Cue]:
    """Return a segment's cues: as few as hold it in lines that fit and times that are not too long,
    each until the next one, unless nobody speaks for a while. Where one word fills more time than a
    cue may, it is shown at its beginning."""
    width = line_width(text_of(words))
    return [cue for run in _runs(_pieces(words, width)) for cue in _of_run(run, width)]


def _runs(pieces: Iterable[Word]) -> Iterator[list[Word]]:
    """Yield the pieces between long pauses."""
    run = list[Word]()
    for piece in pieces:
        if run and piece.start_ms - run[-1].end_ms >= _PAUSE_MS:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _of_run(run: Sequence[Word], width: int) -> list[Cue]:
    shown = [
        cue
        for part in _parts(run, width)
        for cue in timed(part, in_cues(balanced(text_of(part), width), LINES))
    ]
    ends = [after.start_ms for after in shown[1:]] + [shown[-1].end_ms]
    return [
        replace(cue, end_ms=min(end, cue.start_ms + LONGEST_MS))
        for cue, end in zip(shown, ends, strict=True)
    ]


def _parts(run: Sequence[Word], width: int) -> Iterator[Sequence[Word]]:
    """Yield what each cue of a run shows."""
    wide = [columns(piece.text) for piece in run]
    least = least_cues(text_of(run), width)
    for count in range(least, max(least, len(run)) + 1):
        parts = _divided(run, wide, count)
        if all(len(wrap(text_of(part), width)) <= LINES for part in parts):
            break
    for part in parts:
        yield from _in_time(part)


def _in_time(part: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Yield a part as it is, or, where it takes too long, in parts that take about as long as each
    other."""
    length = part[-1].end_ms - part[0].start_ms
    if length <= LONGEST_MS or len(part) == 1:
        yield part
        return
    begins = [part[0].start_ms, *(piece.end_ms for piece in part)]
    lengths = [end - begin for begin, end in pairwise(begins)]
    for one in _divided(part, lengths, least_cues_of(length)):
        yield from _in_time(one)


def _divided(pieces: Sequence[Word], sizes: Sequence[int], count: int) -> list[Sequence[Word]]:
    return [pieces[one] for one in divided([piece.text for piece in pieces], sizes, count)]


def _pieces(words: Sequence[Word], width: int) -> Iterator[Word]:
    """Yield a text in pieces behind which a cue may end: where a line may break, between words."""
    spoken, ends = _Spoken(words), _word_ends(words, width)
    begun, told, held = 0, 0, ""
    for unit in units(text_of(words)):
        held, told = held + unit, told + _letters(unit)
        if told in ends:
            yield Word(spoken.start_ms(begun), spoken.end_ms(told), held)
            begun, held = told, ""


def _word_ends(words: Sequence[Word], width: int) -> set[int]:
    """Return behind how many letters a word ends. One that is wider than a line, as a repetition
    may be that has no times within, ends behind each of its letters."""
    ends = [0, *accumulate(_letters(word.text) for word in words)]
    return {
        end
        for word, (before, behind) in zip(words, pairwise(ends), strict=True)
        for end in (range(before + 1, behind + 1) if columns(word.text) > width else (behind,))
    }


class _Spoken:
    """When each letter of a text is said, by its words, whose time their letters share. Letters are
    counted without spaces, which lines lose at their ends."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._ends = list(accumulate(_letters(word.text) for word in words))

    def start_ms(self, letter: int) -> int:
        """When a letter begins, by its number from 0."""
        return self._time_ms(letter, letter)

    def end_ms(self, count: int) -> int:
        """When the last of the first `count` letters ends."""
        return self._time_ms(count - 1, count)

    def _time_ms(self, letter: int, edge: int) -> int:
        at = bisect_right(self._ends, letter)
        word, count = self._words[at], _letters(self._words[at].text)
        behind = edge - (self._ends[at] - count)
        return word.start_ms + (word.end_ms - word.start_ms) * behind // count


def _letters(text: str) -> int:
    return sum(not letter.isspace() for letter in text)
