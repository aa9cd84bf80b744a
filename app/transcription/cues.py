"""Cues: what a subtitle shows at once, and for how long.

A cue is at most two lines, which a reader gets through while it is shown; or, by the service's
setting, a segment; or lines as a request asks for them. Where a segment is several cues, they go by
the times of its words; where those have none, its time is shared among them by how much each shows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import zip_longest

from app.models.base import Segment
from app.transcription import word_cues
from app.transcription.cue_texts import (
    LETTERS_A_SECOND,
    LINES,
    LONGEST_MS,
    SHORTEST_MS,
    Cue,
    balanced,
    divided,
    in_cues,
    least_cues,
    least_cues_of,
    line_width,
)
from app.transcription.line_breaks import columns, units, wrap


@dataclass(frozen=True)
class Layout:
    """width: columns a line; a CJK character takes two. lines: lines a cue. None: no bound.
    is_for_readers: cues as people read them, whatever the others say."""

    width: int | None = None
    lines: int | None = None
    is_for_readers: bool = False

    @property
    def divides_segments(self) -> bool:
        """Whether a cue may be a part of a segment."""
        return self.is_for_readers or (self.width is not None and self.lines is not None)


def cues(segments: Iterable[Segment], layout: Layout) -> Iterator[Cue]:
    """Yield the cues of a transcript by when they start; those of a channel do not overlap."""
    channels = defaultdict[int | None, list[Segment]](list)
    for segment in segments:
        channels[segment.channel].append(segment)
    yield from merge(
        *(_of_channel(one, layout) for one in channels.values()), key=lambda cue: cue.start_ms
    )


def _of_channel(segments: Sequence[Segment], layout: Layout) -> Iterator[Cue]:
    if layout.is_for_readers:
        shown = _apart([cue for segment in segments for cue in _readable(segment)])
        yield from _shown_longer(list(shown))
    else:
        yield from _apart([cue for segment in segments for cue in _laid_out(segment, layout)])


def _apart(several: Sequence[Cue]) -> Iterator[Cue]:
    """Yield the cues, each until the next one at most, and for at least a millisecond: players pass
    over a cue that ends where it starts, as a word may."""
    earliest = 0
    for cue, after in zip_longest(several, several[1:]):
        start = max(cue.start_ms, earliest)
        end = min(cue.end_ms, after.start_ms) if after else cue.end_ms
        earliest = max(end, start + 1)
        yield replace(cue, start_ms=start, end_ms=earliest)


def _laid_out(segment: Segment, layout: Layout) -> Iterable[Cue]:
    """Return a segment's cues in lines as a request asks for them."""
    words = segment.words if layout.divides_segments else ()
    text = word_cues.text_of(words) or " ".join(segment.text.split())
    lines = wrap(text, layout.width) if layout.width else [text]
    groups = in_cues(lines, layout.lines or len(lines))
    return word_cues.timed(words, groups) if words else _shared_out(segment, groups)


def _shared_out(segment: Segment, groups: Sequence[tuple[str, ...]]) -> Iterator[Cue]:
    """Yield consecutive cues over a segment's time, each as long as its share of the columns, and
    at least a millisecond: players pass over a cue that ends where it starts."""
    # At least 1: marks that combine with nothing have no width.
    widths = [max(1, sum(map(columns, group))) for group in groups]
    length = max(segment.end_ms - segment.start_ms, len(groups))
    total, spare, shown, begin = sum(widths), length - len(groups), 0, segment.start_ms
    for number, (group, width) in enumerate(zip(groups, widths, strict=True), start=1):
        shown += width
        stop = segment.start_ms + number + spare * shown // total
        yield Cue(begin, stop, group)
        begin = stop


def _readable(segment: Segment) -> list[Cue]:
    """Return a segment's cues: as few as hold it in lines that fit and times that are not too long.
    Where one word fills more time than that, it is shown at its beginning."""
    if segment.words:
        return word_cues.readable(segment.words)
    text = " ".join(segment.text.split())
    pieces, width = list(units(text)), line_width(text)
    wide = [columns(piece) for piece in pieces]
    least = max(least_cues(text, width), least_cues_of(segment.end_ms - segment.start_ms))
    for count in range(least, max(least, len(pieces)) + 1):
        texts = ["".join(pieces[part]).strip() for part in divided(pieces, wide, count)]
        groups = [group for one in texts for group in in_cues(balanced(one, width), LINES)]
        shown = list(_shared_out(segment, groups))
        if len(groups) == len(texts) and all(_is_short(one) for one in shown):
            break
    return [replace(one, end_ms=min(one.end_ms, one.start_ms + LONGEST_MS)) for one in shown]


def _is_short(cue: Cue) -> bool:
    return cue.end_ms - cue.start_ms <= LONGEST_MS


def _shown_longer(several: Sequence[Cue]) -> Iterator[Cue]:
    """Yield the cues, each for as long as it takes to read, as far as the next one leaves room."""
    for cue, after in zip_longest(several, several[1:]):
        letters = sum(map(len, cue.lines))
        least = max(SHORTEST_MS, 1000 * letters // LETTERS_A_SECOND)
        end = cue.start_ms + min(least, LONGEST_MS)
        if after:
            end = min(end, after.start_ms)
        yield replace(cue, end_ms=max(cue.end_ms, end))
