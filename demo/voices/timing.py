"""This module finds when each word of a sentence is said, by the sounds that a voice made of it.

A voice says how long it takes to each of its sounds: phonemes, stress marks, spaces, punctuation. A
word lasts from the first to the last of its phonemes; spaces, punctuation and pauses belong to
none. The text is shared out among the runs of phonemes between spaces: espeak-ng writes some words
as one ("in the", "out of"), and such a run is cut where its parts are most like what each of the
words is by itself.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, zip_longest

import numpy as np
from rapidfuzz.distance import Levenshtein

from demo.voices.conditions import RATE, Samples

_SILENT = frozenset(["", "^", "$", *' .,:;!?-—…"“”()'])  # beginning and end of a sentence, too
_FADED = 0.02  # of the loudest sample
_SHORTEST = 0.015  # seconds of a word
_UNLIKE = 0.5  # of the phonemes may differ from what the words are by themselves

Word = tuple[float, float, str]  # start s, end s, as the text spells it
_Span = tuple[int, int, int]  # which run, first sound in it, the one behind its last


@dataclass(frozen=True)
class Sound:
    """A phoneme, a stress mark, a space or punctuation, and when it is made, in seconds."""

    text: str
    start: float
    end: float


def in_time(lengths: Iterable[tuple[str, float]], start: float) -> Iterator[Sound]:
    """Yield sounds with their times, by the seconds that each takes. The first begins at `start`,
    which is before 0 where the recording begins later."""
    for text, seconds in lengths:
        yield Sound(text, start, start + seconds)
        start += seconds


def heard(sounds: Sequence[Sound], samples: Samples) -> Iterator[Sound]:
    """Yield the sounds within a recording, those before a pause no longer than they are loud: a
    voice counts a part of the pause with them."""
    loud = np.flatnonzero(np.abs(samples) > _FADED * np.abs(samples).max()) / RATE
    for sound, following in zip_longest(sounds, sounds[1:]):
        start, end = np.clip((sound.start, sound.end), 0, len(samples) / RATE).tolist()
        if following is None or following.text in _SILENT - {" "}:
            within = loud[(loud >= start) & (loud < end)]
            end = float(within[-1]) if len(within) else start
        yield Sound(sound.text, start, end)


def word_times(
    words: Sequence[str], sounds: Iterable[Sound], alone: Callable[[str], Iterable[str]]
) -> list[Word] | None:
    """Return the words with their times, or None where the sounds are others than the words have,
    or a word has hardly any length.

    alone: what gives the sounds of a word that is said by itself.
    """
    runs = list(_runs(sounds))
    by_themselves = [tuple(text for text in alone(word) if text not in _SILENT) for word in words]
    cost, spans = _shared_out([tuple(one.text for one in run) for run in runs], by_themselves)
    if cost > _UNLIKE * sum(map(len, runs)):
        return None
    times = [
        (runs[run][begin].start, runs[run][end - 1].end, word)
        for (run, begin, end), word in zip(spans, words, strict=True)
    ]
    return times if all(end - start >= _SHORTEST for start, end, _ in times) else None


def _runs(sounds: Iterable[Sound]) -> Iterator[list[Sound]]:
    """Yield what lies between spaces and punctuation."""
    for is_silent, run in groupby(sounds, lambda one: one.text in _SILENT):
        if not is_silent:
            yield list(run)


def _shared_out(
    runs: Sequence[tuple[str, ...]], words: Sequence[tuple[str, ...]]
) -> tuple[float, tuple[_Span, ...]]:
    """Share the runs out among the words in their order, so that each word has a piece of one run
    and nothing is left. Return how many sounds differ, infinitely many where there is no such way,
    and the pieces."""

    @cache
    def best(word: int, run: int, begin: int) -> tuple[float, tuple[_Span, ...]]:
        if word == len(words) or run == len(runs):
            return (0.0 if word == len(words) and run == len(runs) else math.inf), ()
        return min(_with(word, (run, begin, end)) for end in range(begin + 1, len(runs[run]) + 1))

    def _with(word: int, span: _Span) -> tuple[float, tuple[_Span, ...]]:
        run, begin, end = span
        following = (run + 1, 0) if end == len(runs[run]) else (run, end)
        cost, spans = best(word + 1, *following)
        return cost + Levenshtein.distance(runs[run][begin:end], words[word]), (span, *spans)

    return best(0, 0, 0)
