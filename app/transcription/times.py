"""Times of segments, by the speech under them.

Whisper's own stretch over the silence around what is said, and are off by some tenths of a second.
"""

from dataclasses import replace

from app.audio.waveform import SAMPLE_RATE
from app.models.base import Segment
from app.speech.stretches import Stretch
from app.speech.windows import Window

_MS = SAMPLE_RATE // 1000  # samples
_OFF = 200 * _MS  # a segment that reaches no further into speech does not hold it: it is another's


def clipped(segment: Segment, window: Window) -> Segment:
    """Return a segment that begins and ends with the speech under it; as it is where there is none,
    or nobody looked for it."""
    whole = Stretch(segment.start_ms * _MS, segment.end_ms * _MS)
    held = [one for one in window.speech or () if _holds(whole, one)]
    if not held:
        return segment
    start, end = max(whole.start, held[0].start), min(whole.stop, held[-1].stop)
    return replace(segment, start_ms=start // _MS, end_ms=end // _MS)


def _holds(segment: Stretch, speech: Stretch) -> bool:
    common = len(segment.common(speech))
    return common == len(speech) or common > min(_OFF, len(segment) // 2)
