"""The quietest place in a stretch of sound."""

import numpy as np

from app.audio.waveform import SAMPLE_RATE, Pcm, to_samples

_FRAME = SAMPLE_RATE // 50  # 20 ms
_SMOOTH = 15  # frames: a pause between words lasts about 0.3 s


def quietest(pcm: Pcm, low: int, high: int) -> int:
    """Return the sample in (low, high) around which about 0.3 s carry the least energy.

    Among equals (digital silence) the last one wins: longer windows are fewer windows.
    """
    import librosa  # here, for it loads numba and takes seconds: a short file needs neither

    span = _FRAME * _SMOOTH
    part = to_samples(pcm[low:high])
    if len(part) < span:
        return high
    # Not centred: librosa would pad the ends with silence and find it there.
    rms = librosa.feature.rms(y=part, frame_length=span, hop_length=_FRAME, center=False)[0]
    last_of_minima = len(rms) - 1 - int(np.argmin(rms[::-1]))
    return low + last_of_minima * _FRAME + span // 2
