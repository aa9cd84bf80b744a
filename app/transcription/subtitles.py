"""A transcript as SubRip (srt) and WebVTT subtitles.

Times are integer milliseconds from end to end. Without layout a segment is one cue of one line;
with it, lines are broken to a width and cues hold so many of them, and a segment's time is shared
among its cues by how much each shows.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.models.base import Segment

_NOT_AT_START = set("，。、；：？！）」』】》〉…,.;:?!)]}")
_NOT_AT_END = set("（「『【《〈([{")


@dataclass(frozen=True)
class Layout:
    """width: columns a line; a CJK character takes two. lines: lines a cue. None: no bound."""

    width: int | None = None
    lines: int | None = None


@dataclass(frozen=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def srt(segments: Iterable[Segment], layout: Layout) -> str:
    blocks = (
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        + "\n".join(line.replace("-->", "->") for line in cue.lines)
        + "\n\n"
        for number, cue in enumerate(cues(segments, layout), start=1)
    )
    return "".join(blocks)


def vtt(segments: Iterable[Segment], layout: Layout) -> str:
    blocks = (
        f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + "\n".join(_escaped(line) for line in cue.lines)
        + "\n\n"
        for cue in cues(segments, layout)
    )
    return "WEBVTT\n\n" + "".join(blocks)


def cues(segments: Iterable[Segment], layout: Layout) -> Iterator[Cue]:
    for segment in segments:
        text = " ".join(segment.text.split())
        lines = wrap(text, layout.width) if layout.width else [text]
        a_cue = layout.lines or len(lines)
        groups = [tuple(lines[i : i + a_cue]) for i in range(0, len(lines), a_cue)]
        # A millisecond at least: players pass over a cue that ends where it starts.
        end = max(segment.end_ms, segment.start_ms + len(groups))
        yield from _shared_out(segment.start_ms, end, groups)


def _shared_out(start: int, end: int, groups: list[tuple[str, ...]]) -> Iterator[Cue]:
    """Consecutive cues over [start, end], each as long as its share of the columns, and at least
    a millisecond."""
    # At least 1: marks that combine with nothing have no width.
    widths = [max(1, sum(map(columns, group))) for group in groups]
    total, spare, shown, begin = sum(widths), end - start - len(groups), 0, start
    for number, (group, width) in enumerate(zip(groups, widths, strict=True), start=1):
        shown += width
        stop = start + number + spare * shown // total
        yield Cue(begin, stop, group)
        begin = stop


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces and between CJK characters, but not
    before a closing mark nor behind an opening one. Only what is wider than a line is broken
    anywhere else."""
    lines, line = [], ""
    for unit in _units(text.strip()):
        if line and columns((line + unit).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += unit
        while columns(line.rstrip()) > width:
            head = _prefix(line, width)
            lines.append(head.rstrip())
            line = line[len(head) :]
    return [*lines, line.rstrip()] if line.strip() else lines


def _units(text: str) -> Iterator[str]:
    """The text in pieces between which a line may break, spaces at their ends."""
    unit = ""
    for letter in text:
        if unit and _may_break(unit[-1], letter):
            yield unit
            unit = ""
        unit += letter
    if unit:
        yield unit


def _may_break(before: str, after: str) -> bool:
    if before == " ":
        return True
    between_wide = after != " " and (_wide(before) or _wide(after))
    return between_wide and before not in _NOT_AT_END and after not in _NOT_AT_START


def _prefix(text: str, width: int) -> str:
    """As many letters as fit, one at least."""
    shown = 0
    for number, letter in enumerate(text):
        shown += columns(letter)
        if shown > width and number:
            return text[:number]
    return text


def columns(text: str) -> int:
    """How wide it is shown: two for an East Asian wide character, none for a combining mark."""
    return sum(2 if _wide(letter) else not unicodedata.combining(letter) for letter in text)


def _wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
