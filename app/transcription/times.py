"""Times of segments, by the speech under them.

Whisper's own stretch over the silence around what is said, and are off by some tenths of a second.
"""

from dataclasses import replace

from app.audio.waveform import MS
from app.models.base import Segment
from app.speech.stretches import Stretch
from app.speech.windows import Window

# A segment that reaches no further into speech behind a pause does not hold it, and one that begins
# no later in it begins with it: Whisper ends one segment where it begins the next, and that late.
_OFF = 600 * MS


def clipped(segment: Segment, window: Window, earliest_ms: int = 0) -> Segment:
    """Return a segment that begins and ends with the speech under it, and not before `earliest_ms`;
    as it is where there is none, or nobody looked for it."""
    whole = Stretch(segment.start_ms * MS, segment.end_ms * MS)
    under = [one for one in window.speech or () if len(whole.common(one))]
    held = [one for one in under if _holds(whole, one)] or under[-1:]
    if not held:
        return segment
    start, end = max(whole.start, held[0].start), min(whole.stop, held[-1].stop)
    if start - held[0].start <= _OFF:
        start = min(start, max(held[0].start, earliest_ms * MS))
    return replace(segment, start_ms=start // MS, end_ms=end // MS)


def _holds(segment: Stretch, speech: Stretch) -> bool:
    common = len(segment.common(speech))
    return common == len(speech) or common > min(_OFF, len(segment) // 2)
