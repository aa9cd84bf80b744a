"""One channel out of several."""

from collections.abc import Iterator
from itertools import groupby

import av
import numpy as np
from av.audio.frame import AudioFrame

from app.audio.waveform import SAMPLE_RATE, Samples

# Of two channels' power, that is at least left in their sum: alike they leave twice as much, and
# unlike ones as much. Where one is the other's inverse, nothing is left, and nothing is heard.
_LEAST_LEFT = 0.05


def mono(blocks: Iterator[AudioFrame]) -> Iterator[Samples]:
    """Yield blocks of one format as 16 kHz mono: all channels, or the first one where two cancel
    each other out."""
    for cancel, alike in groupby(_with_cancelling(blocks), lambda one: one[0]):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        for _, block in alike:
            one = _first_channel(block) if cancel else block
            yield from (frame.to_ndarray() for frame in resampler.resample(one))
        yield from (frame.to_ndarray() for frame in resampler.resample(None))


def _with_cancelling(blocks: Iterator[AudioFrame]) -> Iterator[tuple[bool, AudioFrame]]:
    """Yield each block with whether its channels cancel each other out; where it is silent, as
    those of the one before."""
    cancel = False
    for block in blocks:
        if block.layout.nb_channels == 2:
            first, second = _channels(block)
            power = float(first @ first + second @ second)
            if power:
                both = first + second
                cancel = float(both @ both) < _LEAST_LEFT * power
        yield cancel, block


def _channels(block: AudioFrame) -> np.ndarray:
    """The channels of a block of two, shape (2, n), around 0."""
    samples = _channels_as_they_are(block).astype(np.float32)
    return samples - 128 if block.format.bytes == 1 else samples


def _first_channel(block: AudioFrame) -> AudioFrame:
    one = AudioFrame.from_ndarray(_channels_as_they_are(block)[:1], _planar(block), "mono")
    one.sample_rate = block.sample_rate
    return one


def _channels_as_they_are(block: AudioFrame) -> np.ndarray:
    samples = block.to_ndarray()
    return samples if block.format.is_planar else np.ascontiguousarray(samples.reshape(-1, 2).T)


def _planar(block: AudioFrame) -> str:
    return str(block.format.planar.name)
