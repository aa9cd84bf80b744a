"""Cues: what a subtitle shows at once, and for how long.

A cue is at most two lines, which a reader gets through while it is shown; or, by the service's
setting, a segment; or lines as a request asks for them. Where a segment is several cues, its time
is shared among them by how much each shows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import accumulate, pairwise, zip_longest

from app.models.base import Segment
from app.transcription.line_breaks import columns, is_wide, units, wrap

# What broadcasters have in common (BBC, Netflix): 42 columns a line, or 16 characters where each
# takes two columns, and no cue so short or so full that it cannot be read, nor one that outlives
# what it says.
_LINES = 2
_WIDTH, _WIDE_WIDTH = 42, 32  # columns
_LONGEST_MS, _SHORTEST_MS = 7000, 1000
_LETTERS_A_SECOND = 20
_ENDS_CLAUSE = set(".,;:?!…。，、；：？！")
_NEAR = 0.25  # of its share is how much more or less a cue shows where that ends a clause


@dataclass(frozen=True)
class Layout:
    """width: columns a line; a CJK character takes two. lines: lines a cue. None: no bound.
    is_for_readers: cues as people read them, whatever the others say."""

    width: int | None = None
    lines: int | None = None
    is_for_readers: bool = False


@dataclass(frozen=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment], layout: Layout) -> Iterator[Cue]:
    """Yield the cues of a transcript by when they start; of a channel, none overlap if no segments
    do."""
    channels = defaultdict[int | None, list[Segment]](list)
    for segment in segments:
        channels[segment.channel].append(segment)
    yield from merge(
        *(_of_channel(one, layout) for one in channels.values()), key=lambda cue: cue.start_ms
    )


def _of_channel(segments: Sequence[Segment], layout: Layout) -> Iterator[Cue]:
    if layout.is_for_readers:
        yield from _shown_longer([cue for segment in segments for cue in _readable(segment)])
        return
    for segment in segments:
        text = " ".join(segment.text.split())
        lines = wrap(text, layout.width) if layout.width else [text]
        yield from _shared_out(segment, _grouped(lines, layout.lines or len(lines)))


def _grouped(lines: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(lines[i : i + size]) for i in range(0, len(lines), size)]


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
    text = " ".join(segment.text.split())
    pieces = list(units(text))
    width = _WIDE_WIDTH if 2 * sum(map(is_wide, text)) > len(text) else _WIDTH
    length = segment.end_ms - segment.start_ms
    least = max(1, -(-columns(text) // (_LINES * width)), -(-length // _LONGEST_MS))
    for count in range(least, max(least, len(pieces)) + 1):
        texts = _divided(pieces, count)
        groups = [group for one in texts for group in _grouped(_balanced(one, width), _LINES)]
        shown = list(_shared_out(segment, groups))
        if len(groups) == len(texts) and all(_is_short(one) for one in shown):
            break
    return [replace(one, end_ms=min(one.end_ms, one.start_ms + _LONGEST_MS)) for one in shown]


def _is_short(cue: Cue) -> bool:
    return cue.end_ms - cue.start_ms <= _LONGEST_MS


def _divided(pieces: Sequence[str], count: int) -> list[str]:
    """Return the pieces in so many texts, or fewer, about as wide as each other; each ends with a
    clause, if one ends near there."""
    wide = list(accumulate(map(columns, pieces)))
    share, ends = wide[-1] / count, [0]
    for target in (share * number for number in range(1, count)):

        def distance(end: int, target: float = target) -> float:
            off = abs(wide[end - 1] - target)
            return off - _NEAR * share * (pieces[end - 1].rstrip()[-1:] in _ENDS_CLAUSE)

        ends.append(min(range(ends[-1] + 1, len(pieces)), key=distance, default=len(pieces)))
    texts = ("".join(pieces[a:b]).strip() for a, b in pairwise((*ends, len(pieces))))
    return [text for text in texts if text]


def _balanced(text: str, width: int) -> list[str]:
    """Return the lines of a text, of about the same width where there are two."""
    lines = wrap(text, width)
    if len(lines) != _LINES:
        return lines
    for narrower in range(-(-columns(text) // _LINES), width):
        if len(tried := wrap(text, narrower)) == _LINES:
            return tried
    return lines


def _shown_longer(several: Sequence[Cue]) -> Iterator[Cue]:
    """Yield the cues, each for as long as it takes to read, as far as the next one leaves room."""
    for cue, after in zip_longest(several, several[1:]):
        letters = sum(map(len, cue.lines))
        least = max(_SHORTEST_MS, 1000 * letters // _LETTERS_A_SECOND)
        end = cue.start_ms + min(least, _LONGEST_MS)
        if after:
            end = min(end, after.start_ms)
        yield replace(cue, end_ms=max(cue.end_ms, end))
