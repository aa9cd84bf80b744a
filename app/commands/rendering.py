"""A transcript in the formats that are written to files, of one answer of the server."""

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from app.models.base import Segment, Word
from app.transcription.cues import Layout
from app.transcription.subtitles import srt, vtt

_LAYOUT = Layout(is_for_readers=True)
_INNER = ("type",)  # of the event, and no part of a transcript


def rendered(told: dict[str, Any], wanted: str) -> str:
    """Return a server's verbose_json as text, srt, vtt or json."""
    match wanted:
        case "srt":
            return srt(_segments(told), _LAYOUT)
        case "vtt":
            return vtt(_segments(told), _LAYOUT)
        case "json":
            body = {name: value for name, value in told.items() if name not in _INNER}
            return json.dumps(body, ensure_ascii=False, indent=1) + "\n"
    return f"{told['text']}\n"


def _segments(told: dict[str, Any]) -> Iterator[Segment]:
    """Yield the segments with their words, of which a body holds all beside them."""
    words = deque(told.get("words", ()))
    for one in told["segments"]:
        own = tuple(_taken(words, one["text"]))
        yield Segment(_ms(one["start"]), _ms(one["end"]), one["text"], words=own)


def _taken(words: deque[dict[str, Any]], text: str) -> Iterator[Word]:
    """Take the words off that a text begins with, and yield each with the space before it."""
    while words and text.strip():
        body = text.lstrip()
        if not body.startswith(words[0]["word"]):
            return
        one, space = words.popleft(), text[: len(text) - len(body)]
        yield Word(_ms(one["start"]), _ms(one["end"]), space + one["word"])
        text = body[len(one["word"]) :]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
