"""This module makes a clean recording sound as from a room, with noise, or over a telephone.

A condition takes samples at 16 kHz, shape (n,), float32 within ±1, and a source of chance. It
returns as many samples and delays none of them, so that the times of the words stay true.
"""

from collections.abc import Callable
from random import Random

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import signal

RATE = 16_000
Samples = NDArray[np.float32]

_LINE_RATE = 8_000  # samples a second of a telephone line
_LINE_BAND = (300, 3400)  # Hz
_MU = 255  # of G.711's mu-law
_COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # powers of 1/f that the amplitude falls with


def clean(samples: Samples, choose: Random) -> Samples:
    """Return the samples as they are."""
    return samples


def room(samples: Samples, choose: Random) -> Samples:
    """Add the echoes of a room: noise that falls by 60 dB in 0.2 to 0.7 s, behind the voice."""
    decay, wet = choose.uniform(0.2, 0.7), choose.uniform(0.3, 0.9)
    times = np.arange(int(decay * RATE)) / RATE
    tail = _generator(choose).standard_normal(len(times)) * 10 ** (-3 * times / decay)
    tail[: int(0.003 * RATE)] = 0  # the nearest wall is half a metre away
    response = wet * tail / np.linalg.norm(tail)
    response[0] = 1
    return _as_loud(signal.fftconvolve(samples, response)[: len(samples)], samples)


def noise(samples: Samples, choose: Random) -> Samples:
    """Add white, pink or brown noise, and sometimes mains hum, 5 to 20 dB below the voice."""
    colour = choose.choice(sorted(_COLOURS))
    added = _coloured(len(samples), _COLOURS[colour], _generator(choose))
    if choose.random() < 0.3:
        added = added + _hum(len(samples), choose.choice([50, 60]))
    below = choose.uniform(5, 20)
    gain = _loudness(samples) / _loudness(added) * 10 ** (-below / 20)
    return _as_loud(samples + gain * added, samples)


def telephone(samples: Samples, choose: Random) -> Samples:
    """Send the samples by telephone: 8 kHz, 300 to 3400 Hz, 8-bit mu-law, and a little hiss."""
    narrow = soxr.resample(samples, RATE, _LINE_RATE)
    band = signal.butter(4, _LINE_BAND, "bandpass", fs=_LINE_RATE, output="sos")
    line = signal.sosfilt(band, narrow)
    line = line + 10 ** (-choose.uniform(35, 50) / 20) * _generator(choose).normal(
        scale=_loudness(line), size=len(line)
    )
    wide = soxr.resample(_mu_law(line / (np.abs(line).max() + 1e-9)), _LINE_RATE, RATE)
    return _as_loud(_fit(wide, len(samples)), samples)


CONDITIONS: dict[str, Callable[[Samples, Random], Samples]] = {
    "clean": clean,
    "room": room,
    "noise": noise,
    "telephone": telephone,
}


def _generator(choose: Random) -> np.random.Generator:
    return np.random.default_rng(choose.getrandbits(32))


def _coloured(count: int, power: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return noise of loudness 1 whose amplitude falls with 1/f to the power."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)
    coloured: NDArray[np.float64] = np.fft.irfft(spectrum / frequencies**power, count)
    return coloured / _loudness(coloured)


def _hum(count: int, hertz: int) -> NDArray[np.float64]:
    times = np.arange(count) / RATE
    parts = [np.sin(2 * np.pi * hertz * n * times) / n for n in (1, 2, 3, 5)]
    return np.sum(parts, axis=0)


def _mu_law(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """Encode samples as 8-bit mu-law and decode them again."""
    squeezed = np.sign(samples) * np.log1p(_MU * np.abs(samples)) / np.log1p(_MU)
    steps = np.round(squeezed * 127) / 127
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU, np.float32)


def _loudness(samples: NDArray[np.floating]) -> float:
    """Return the root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(samples)))) + 1e-9


def _as_loud(samples: NDArray[np.floating], model: Samples) -> Samples:
    """Scale the samples to the model's loudness, or to less where they would pass full scale."""
    loud = samples * (_loudness(model) / _loudness(samples))
    return np.asarray(loud * min(1, 0.98 / (np.abs(loud).max() + 1e-9)), np.float32)


def _fit(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Cut the samples, or fill them up with silence, to the count."""
    return np.pad(samples[:count], (0, max(0, count - len(samples))))
