"""Recordings as long as one likes: the prose again and again, or sentences of it between silences.

Everything is seeded: two runs hear the same.
"""

import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

import av
import numpy as np

from app.audio.waveform import SAMPLE_RATE, Samples, to_pcm
from bench.recordings import cut, reading

_TOGETHER = 10  # sentences between two silences
_PAUSE_SECONDS = 0.3  # between two of these
_BITS_A_SECOND = 24_000


def throughout(seconds: float) -> Iterator[Samples]:
    """Yield so many seconds of the prose, again and again."""
    samples, left = reading("prose").samples, int(seconds * SAMPLE_RATE)
    while left > 0:
        yield samples[:left]
        left -= len(samples)


def now_and_then(seconds: float, share: float) -> Iterator[Samples]:
    """Yield so many seconds, in a share of which somebody speaks: groups of sentences, and silences
    of many lengths between the groups."""
    choose, whole = Random(0), int(seconds * SAMPLE_RATE)
    said = [samples for _, samples in cut(reading("prose"))]
    groups = list(_groups(choose, said, int(share * whole)))
    weights = [choose.random() for _ in range(len(groups) + 1)]
    a_weight = (whole - sum(map(len, groups))) / sum(weights)
    for weight, group in zip(weights, groups, strict=False):
        yield _silence(weight * a_weight)
        yield group
    yield _silence(weights[-1] * a_weight)


def _groups(choose: Random, said: Sequence[Samples], left: int) -> Iterator[Samples]:
    """Yield groups of sentences until `left` samples are said."""
    pause = _silence(_PAUSE_SECONDS * SAMPLE_RATE)
    while left > 0:
        parts: list[Samples] = []
        for one in choose.sample(said, _TOGETHER):
            if left > 0:
                parts += [one, pause]
                left -= len(one)
        yield np.concatenate(parts[:-1])


def _silence(count: float) -> Samples:
    return np.zeros(int(count), np.float32)


def as_wav(path: Path, pieces: Iterable[Samples]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for piece in pieces:
            file.writeframes(to_pcm(piece).astype("<i2").tobytes())
    return path


def as_opus(path: Path, pieces: Iterable[Samples]) -> Path:
    """Write Ogg Opus of 3 kB a second, with the encoder's least effort: it is heard, not kept."""
    options = {"b": str(_BITS_A_SECOND), "compression_level": "0"}
    with av.open(str(path), "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=SAMPLE_RATE, layout="mono", options=options)
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(to_pcm(piece).reshape(1, -1), "s16", "mono")
            frame.sample_rate = SAMPLE_RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
