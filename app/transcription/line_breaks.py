"""Where a line of text may break, and how wide it is shown."""

import unicodedata
from collections.abc import Iterator

_NOT_AT_START = set("，。、；：？！）」』】》〉…,.;:?!)]}")
_NOT_AT_END = set("（「『【《〈([{")


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces and between CJK characters, but not
    before a closing mark nor behind an opening one. Only what is wider than a line is broken
    anywhere else."""
    lines, line = [], ""
    for unit in units(text.strip()):
        if line and columns((line + unit).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += unit
        while columns(line.rstrip()) > width:
            head = _prefix(line, width)
            lines.append(head.rstrip())
            line = line[len(head) :]
    return [*lines, line.rstrip()] if line.strip() else lines


def units(text: str) -> Iterator[str]:
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
    between_wide = after != " " and (is_wide(before) or is_wide(after))
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
    if text.isascii():  # by far the most common, and the quickest to know
        return len(text)
    return sum(2 if is_wide(letter) else not unicodedata.combining(letter) for letter in text)


def is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"
