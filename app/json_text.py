"""JSON that others send, read so that whatever was read can be kept and written again."""

from codecs import BOM_UTF8
from typing import Any

from pydantic_core import from_json


def read_json_text(content: bytes | bytearray) -> Any:
    """Read JSON in UTF-8. Python's own reader takes more: NaN, half a surrogate pair, which no
    UTF-8 holds, and what is nested so deep that nothing can write it again. Raises ValueError."""
    return from_json(bytes(content).removeprefix(BOM_UTF8), allow_inf_nan=False)
