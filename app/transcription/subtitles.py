"""A transcript as SubRip (srt) and WebVTT subtitles. Times are integer milliseconds."""

from collections.abc import Iterable

from app.models.base import Segment
from app.transcription.cues import Layout, cues


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


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
