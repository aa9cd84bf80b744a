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


def mono(blocks: Iterator[AudioFrame], channel: int | None = None) -> Iterator[Samples]:
    """Yield blocks of one format as 16 kHz mono: one channel, which is silent where there is none
    of that number, or all of them, of which two that cancel each other out are heard as one."""
    chosen = _with_cancelling(blocks) if channel is None else ((channel, one) for one in blocks)
    for number, alike in groupby(chosen, lambda one: one[0]):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        for _, block in alike:
            one = block if number is None else _only(block, number)
            yield from (frame.to_ndarray() for frame in resampler.resample(one))
        yield from (frame.to_ndarray() for frame in resampler.resample(None))


def _with_cancelling(blocks: Iterator[AudioFrame]) -> Iterator[tuple[int | None, AudioFrame]]:
    """Yield each block with the channel that stands for all, where they cancel each other out;
    where it is silent, as in the one before."""
    cancel = False
    for block in blocks:
        if block.layout.nb_channels == 2:
            first, second = _around_zero(block)
            power = float(first @ first + second @ second)
            if power:
                both = first + second
                cancel = float(both @ both) < _LEAST_LEFT * power
        yield 0 if cancel else None, block


def _around_zero(block: AudioFrame) -> np.ndarray:
    """Return the channels of a block, shape (channels, n), around 0."""
    samples = _channels(block).astype(np.float32)
    return samples - 128 if block.format.bytes == 1 else samples


def _only(block: AudioFrame, channel: int) -> AudioFrame:
    """Return a block of one channel of a block, or of silence where there is none."""
    channels = _channels(block)
    if channel < len(channels):
        samples = channels[channel : channel + 1]
    else:
        silence = 128 if block.format.bytes == 1 else 0
        samples = np.full_like(channels[:1], silence)
    planar = str(block.format.planar.name)
    one = AudioFrame.from_ndarray(np.ascontiguousarray(samples), planar, "mono")
    one.sample_rate = block.sample_rate
    return one


def _channels(block: AudioFrame) -> np.ndarray:
    """Return the samples of a block as they are, shape (channels, n)."""
    samples = block.to_ndarray()
    if block.format.is_planar:
        return samples
    return np.ascontiguousarray(samples.reshape(-1, block.layout.nb_channels).T)
