"""What a Matroska or webm file says of itself, read element by element (RFC 8794, RFC 9559)."""

import math
import os
import re
import struct
from collections.abc import Iterator
from typing import IO

_HEADER, _SEGMENT, _INFO, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1F43B675
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_FLOATS = {4: ">f", 8: ">d"}  # by their size in bytes
_OPEN = -1  # a size that its writer did not know yet
_NANOSECOND = 1e-9
_TICK = 1_000_000  # nanoseconds, where the file does not say
_MOST_ELEMENTS = 100  # on one level before the first cluster: writers make a dozen
# A cluster, or a SimpleBlock: of 1 to 3 bytes of size, one of the first tracks, a time, and flags
# as sound has them.
_MIDDLE = re.compile(
    rb"\x1fC\xb6u|\xa3(?:[\x81-\xff]|[\x40-\x7f].|[\x20-\x3f]..)[\x81-\x84]..[\x00\x80]", re.DOTALL
)


def is_later_part(head: bytes) -> bool:
    """Whether these first 12 bytes are what a recorder sends on after the beginning of a file."""
    return _MIDDLE.match(head) is not None


def seconds_if_cut(file: IO[bytes]) -> float | None:
    """The length by the header, where bytes are missing at the end by that same header.

    None where none are missing: a video may be longer than its sound, so that the length alone
    proves nothing. None too where the size of the whole is left open, as browsers and writers to a
    pipe do: a length that is put in there afterwards was often taken by the clock, pauses and all.
    """
    position = file.tell()
    try:
        return _seconds_if_cut(file)
    finally:
        file.seek(position)


def _seconds_if_cut(file: IO[bytes]) -> float | None:
    there = file.seek(0, os.SEEK_END)
    for name, start, end in _elements(file, 0, there):
        if name == _SEGMENT:
            return _duration(file, start, there) if end is not None and end > there else None
        if name != _HEADER:
            break
    return None


def _duration(file: IO[bytes], start: int, there: int) -> float | None:
    """A segment's, by what stands before its sound."""
    for name, at, end in _elements(file, start, there):
        if name == _INFO and end is not None:
            return _seconds(file, at, min(end, there))
        if name == _CLUSTER:
            break
    return None


def _seconds(file: IO[bytes], start: int, end: int) -> float | None:
    """The duration that is told between two places of the file."""
    scale, ticks = _TICK, math.nan
    for name, at, last in _elements(file, start, end):
        content = file.read(min((last or at) - at, 8))
        if name == _SCALE:
            scale = int.from_bytes(content)
        if name == _DURATION and len(content) in _FLOATS:
            (ticks,) = struct.unpack(_FLOATS[len(content)], content)
    seconds = ticks * scale * _NANOSECOND
    return seconds if math.isfinite(seconds) else None


def _elements(file: IO[bytes], start: int, stop: int) -> Iterator[tuple[int, int, int | None]]:
    """Elements between two places: each one's name, where its content starts, and where it ends,
    None where that is left open. The file stands at the content of the latest."""
    for _ in range(_MOST_ELEMENTS):
        file.seek(start)
        name, size = _number(file, marked=True), _number(file)
        if name is None or size is None:
            return
        start = file.tell()
        end = None if size == _OPEN else start + size
        yield name, start, end
        if end is None or end >= stop:
            return
        start = end


def _number(file: IO[bytes], *, marked: bool = False) -> int | None:
    """One of EBML's: zeros before the first set bit say how many bytes follow. _OPEN where all
    bits behind it are set, None where there is none. `marked`: with that bit, as names have it."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    value = int.from_bytes(first + rest)
    if marked:
        return value
    most = (1 << 7 * length) - 1
    return _OPEN if value & most == most else value & most
