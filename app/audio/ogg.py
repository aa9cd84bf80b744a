"""Pages of an Ogg file (RFC 3533)."""

import os
from typing import IO

_MARK = b"OggS\0"  # with the version, which is 0
_HEADER = 27  # bytes, up to the table of segments; the last one is how many there are
_LARGEST = _HEADER + 255 + 255 * 255


def ends_within_a_page(file: IO[bytes]) -> bool:
    """Whether the last page is longer, by its own table, than what is there of it. What stands
    behind a whole one, such as a tag, is no page."""
    position = file.tell()
    try:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LARGEST))
        _, mark, page = file.read(_LARGEST).rpartition(_MARK)
    finally:
        file.seek(position)
    return bool(mark) and _is_cut(mark + page)


def _is_cut(page: bytes) -> bool:
    if len(page) < _HEADER:
        return True
    count = page[_HEADER - 1]
    return len(page) < _HEADER + count + sum(page[_HEADER : _HEADER + count])
