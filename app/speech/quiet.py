"""The quietest place in a stretch of sound."""

import numpy as np

from app.audio.waveform import SAMPLE_RATE, Pcm

_FRAME = SAMPLE_RATE // 50  # 20 ms
_SMOOTH = 15  # frames: a pause between words lasts about 0.3 s


def quietest(pcm: Pcm, low: int, high: int) -> int:
    """Return the sample in (low, high) around which about 0.3 s carry the least energy.

    Among equals (digital silence) the last one wins: longer windows are fewer windows.
    """
    part = pcm[low:high]
    count = len(part) // _FRAME
    if count < _SMOOTH:
        return high
    frames = part[: count * _FRAME].reshape(count, _FRAME).astype(np.int64)
    until = np.concatenate([[0], np.cumsum((frames * frames).sum(axis=1))])
    energy = until[_SMOOTH:] - until[:-_SMOOTH]  # of each frame and those that follow
    last_of_minima = len(energy) - 1 - int(np.argmin(energy[::-1]))
    return low + last_of_minima * _FRAME + _SMOOTH * _FRAME // 2
