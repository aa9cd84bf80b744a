"""Cutting a waveform into windows the model can hear at once.

A window knows where it begins from birth, so nobody repairs timestamps later. Windows tile the
waveform: no sample is dropped and none is heard twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.audio.waveform import SAMPLE_RATE, Samples, Waveform

_SEARCH_SECONDS = 6.0  # how far before the limit a quiet place may lie
_FRAME = SAMPLE_RATE // 50  # 20 ms, one of Whisper's timestamp steps
_SMOOTH = 15  # frames: a pause between words lasts about 0.3 s


@dataclass(frozen=True, slots=True)
class Window:
    """`samples` is a view, shape (n,), of the waveform from sample `offset` on."""

    offset: int
    samples: Samples

    @property
    def start_ms(self) -> int:
        return self.offset * 1000 // SAMPLE_RATE

    @property
    def duration_ms(self) -> int:
        return len(self.samples) * 1000 // SAMPLE_RATE


def cut(wave: Waveform, max_seconds: float) -> Iterator[Window]:
    """Windows of at most `max_seconds`, each cut at the quietest place near its limit."""
    limit = int(max_seconds * SAMPLE_RATE)
    search = int(min(_SEARCH_SECONDS, max_seconds / 2) * SAMPLE_RATE)
    start, end = 0, len(wave.samples)
    while end - start > limit:
        stop = quietest(wave.samples, start + limit - search, start + limit)
        yield Window(start, wave.samples[start:stop])
        start = stop
    yield Window(start, wave.samples[start:end])


def quietest(samples: Samples, low: int, high: int) -> int:
    """The sample in [low, high] around which about 0.3 s carry the least energy.

    Among equals (digital silence) the last one wins: longer windows are fewer windows.
    """
    import librosa  # here, for it loads numba and takes seconds: a short file needs neither

    part = samples[low:high]
    if len(part) < _FRAME * _SMOOTH:
        return high
    rms = librosa.feature.rms(y=part, frame_length=_FRAME * _SMOOTH, hop_length=_FRAME)[0]
    last_of_minima = len(rms) - 1 - int(np.argmin(rms[::-1]))
    return min(low + last_of_minima * _FRAME, high)
