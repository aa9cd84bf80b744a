"""Words of a segment as they are told: they make up its text, and lie in the speech under them."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from app.audio.waveform import MS
from app.models.base import Segment, Word
from app.speech.stretches import Stretch
from app.speech.windows import Window


def told_words(segment: Segment, window: Window) -> Segment:
    """Return a segment whose words make up its text and have times in its speech."""
    words = segment.words or (Word(segment.start_ms, segment.end_ms, segment.text),)
    return replace(segment, words=_in_speech(fitted(words, segment.text), segment, window))


class InOrder:
    """Keeps a recording's words in order: none starts before the end of the one told before it.
    What a window says last may reach into what is decoded next."""

    def __init__(self) -> None:
        self._earliest_ms = 0

    def told(self, segment: Segment) -> Segment:
        """Return the next segment, its words no earlier than those before it."""
        if not segment.words:
            return segment
        words = tuple(self._moved(word) for word in segment.words)
        return replace(segment, words=words)

    def _moved(self, word: Word) -> Word:
        start = max(word.start_ms, self._earliest_ms)
        self._earliest_ms = max(word.end_ms, start)
        return replace(word, start_ms=start, end_ms=self._earliest_ms)


def fitted(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """Return words that make up `text`, which is theirs but for how it is written: in another
    script, or without some spaces. What is left of no word is told with the one before it."""
    written = "".join(word.text for word in words)
    if written == text:
        return tuple(words)
    found, at, read = list[Word](), 0, 0
    for word in words:
        read += len(word.text)
        end = len(text) if read == len(written) else _counterpart(written, text, read)
        if end > at:
            found.append(replace(word, text=text[at:end]))
            at = end
        elif found:
            found[-1] = replace(found[-1], end_ms=word.end_ms)
    return tuple(found)


def _counterpart(written: str, text: str, at: int) -> int:
    """Return the place in `text` that is at what `at` is in `written`."""
    for _, begin, end, to, to_end in SequenceMatcher(None, written, text, False).get_opcodes():
        if at <= end:
            return min(to + at - begin, to_end)
    return len(text)


def _in_speech(words: Sequence[Word], segment: Segment, window: Window) -> tuple[Word, ...]:
    """Return the words clipped to speech, in order, none before the end of the one before it."""
    told, earliest = list[Word](), segment.start_ms
    for word in words:
        # The last word that a pass aligns takes all that is left of the window, also what is
        # decoded next: its segment's end is its own.
        ends = max(word.start_ms, min(word.end_ms, segment.end_ms))
        start, end = _under(replace(word, end_ms=ends), window)
        start = max(start, earliest)
        end = max(start, end)
        told.append(replace(word, start_ms=start, end_ms=end))
        earliest = end
    return tuple(told)


def _under(word: Word, window: Window) -> tuple[int, int]:
    """Return the times of what is spoken under a word; its own where nothing is."""
    whole = Stretch(word.start_ms * MS, word.end_ms * MS)
    under = [common for one in window.speech or () if len(common := whole.common(one))]
    if not under:
        return word.start_ms, word.end_ms
    longest = max(under, key=len)
    return longest.start // MS, longest.stop // MS
