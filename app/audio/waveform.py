"""The one shape audio has in here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, what Whisper was trained on

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Waveform:
    """Mono float32 samples in [-1, 1] at SAMPLE_RATE, shape (n,)."""

    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE
