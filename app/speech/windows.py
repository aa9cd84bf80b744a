"""Cutting of a waveform into windows that the model can decode at once.

A window knows its offset from its beginning, so timestamps need no repair later. Windows tile the
waveform: no sample is dropped and none is decoded twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.audio.waveform import SAMPLE_RATE, Samples, Waveform

_SEARCH_SECONDS = 6.0  # how far before the limit a quiet place may lie
_FRAME = SAMPLE_RATE // 50  # 20 ms, one of Whisper's timestamp steps
_LEAST = SAMPLE_RATE  # a window's least length, where a choice exists
_SMOOTH = 15  # frames: a pause between words lasts about 0.3 s
_SYLLABLE = 12  # frames
_FAINT = 0.1  # 20 dB below the loud places
_HEARING = 1e-4  # a level nobody would call sound


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a waveform. `samples` is a view, shape (n,), of the waveform from sample
    `offset` on."""

    offset: int
    samples: Samples

    @property
    def start_ms(self) -> int:
        return self.offset * 1000 // SAMPLE_RATE

    @property
    def duration_ms(self) -> int:
        return len(self.samples) * 1000 // SAMPLE_RATE

    def after(self, milliseconds: int) -> "Window":
        """Return what is left of the window behind a point, in milliseconds from its start."""
        skipped = milliseconds * SAMPLE_RATE // 1000
        return Window(self.offset + skipped, self.samples[skipped:])

    def is_heard_after(self, milliseconds: int) -> bool:
        """Return whether something sounds behind a point, in milliseconds from the window's start:
        for a syllable's length, not far below the window's loud places."""
        count = len(self.samples) // _FRAME
        frames = self.samples[: count * _FRAME].reshape(count, _FRAME)
        levels = np.sqrt(np.mean(np.square(frames), axis=1))
        if not count or (loud := float(np.quantile(levels, 0.95))) < _HEARING:
            return False
        behind = levels[milliseconds * SAMPLE_RATE // 1000 // _FRAME :]
        return int(np.sum(behind > _FAINT * loud)) >= _SYLLABLE


def cut(wave: Waveform, max_seconds: float) -> Iterator[Window]:
    """Yield windows of at most `max_seconds`, each cut at the quietest place near its limit."""
    limit = int(max_seconds * SAMPLE_RATE)
    search = int(min(_SEARCH_SECONDS, max_seconds / 2) * SAMPLE_RATE)
    start, end = 0, len(wave.samples)
    while end - start > limit:
        # What is left is long enough to be heard as something: a sliver invites invention.
        high = min(start + limit, end - min(_LEAST, limit // 2))
        stop = quietest(wave.samples, high - search, high)
        yield Window(start, wave.samples[start:stop])
        start = stop
    yield Window(start, wave.samples[start:end])


def quietest(samples: Samples, low: int, high: int) -> int:
    """Return the sample in (low, high) around which about 0.3 s carry the least energy.

    Among equals (digital silence) the last one wins: longer windows are fewer windows.
    """
    import librosa  # here, for it loads numba and takes seconds: a short file needs neither

    span = _FRAME * _SMOOTH
    part = samples[low:high]
    if len(part) < span:
        return high
    # Not centred: librosa would pad the ends with silence and find it there.
    rms = librosa.feature.rms(y=part, frame_length=span, hop_length=_FRAME, center=False)[0]
    last_of_minima = len(rms) - 1 - int(np.argmin(rms[::-1]))
    return low + last_of_minima * _FRAME + span // 2
