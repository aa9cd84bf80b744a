"""The one shape audio has in here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, what Whisper was trained on
MS = SAMPLE_RATE // 1000  # samples
SAMPLE_BYTES = 2
_FULL_SCALE = 2**15

Samples = NDArray[np.float32]  # in [-1, 1]
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Waveform:
    """Mono sound at SAMPLE_RATE, shape (n,), held in 16 bits, as openai/whisper `audio.py` reads
    it: two hours of it would take twice the memory in 32."""

    pcm: Pcm

    @classmethod
    def of(cls, samples: Samples) -> "Waveform":
        """Return the waveform of samples; what is beyond full scale is cut off there."""
        return cls(to_pcm(samples))

    @property
    def samples(self) -> Samples:
        """All of it, in [-1, 1]: a copy of twice the size."""
        return to_samples(self.pcm)

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE

    def beginning(self, seconds: float | None) -> "Waveform":
        """Return a view of its first seconds; None is all of them."""
        return self if seconds is None else Waveform(self.pcm[: int(seconds * SAMPLE_RATE)])


def to_pcm(samples: Samples) -> Pcm:
    """Return samples in 16 bits; what is beyond full scale is cut off there."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    pcm: Pcm = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return pcm


def to_samples(pcm: Pcm) -> Samples:
    """Return what 16 bits hold, in [-1, 1]."""
    return pcm * np.float32(1 / _FULL_SCALE)
