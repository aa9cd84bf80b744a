"""Where somebody speaks: Silero's voice activity detector, version 6.2.

Its graph is ours, for blocks of frames (tools/detector.py), its weights are theirs, and it gives
each frame the probability that their model for streams gives it. Their package is not needed, which
imports torch; what its `sequence_vad.py` does around the model is done here.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.audio.incoming import Incoming
from app.audio.waveform import Pcm, to_samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FRAME = 512  # samples, 32 ms: what a probability is of
CONTEXT = 64  # samples of the frame before, which the model reads too
_BLOCK = 512  # frames a call, 16 s
MODEL = Path(__file__).with_name("detector.onnx")

Probabilities = NDArray[np.float32]


def speech_probabilities(incoming: Incoming) -> Iterator[Probabilities]:
    """Yield for the frames of a recording, the last one filled up with zeros, how likely somebody
    speaks in them: shape (frames,), as it comes. Blocking, for some milliseconds a second of sound.
    """
    detector, heard = _Detector(), 0
    while incoming.more():
        while incoming.count - heard >= _BLOCK * FRAME:
            yield detector.hear(incoming.pcm[heard : heard + _BLOCK * FRAME])
            heard += _BLOCK * FRAME
    if heard < incoming.count:
        yield detector.hear(incoming.pcm[heard : incoming.count])


class _Detector:
    """Hears a recording block by block."""

    def __init__(self) -> None:
        self._state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
        self._context = np.zeros(CONTEXT, np.float32)

    def hear(self, block: Pcm) -> Probabilities:
        """Return the probabilities of a block's frames; all but the last have whole ones."""
        fed = {"input": self._frames(block), "h": self._state[0], "c": self._state[1]}
        found, *self._state = _session().run(None, fed)
        return np.ravel(found)

    def _frames(self, block: Pcm) -> NDArray[np.float32]:
        """Return a block's frames, each behind its context: shape (frames, 576)."""
        frames = np.zeros((-(-len(block) // FRAME), FRAME), np.float32)
        frames.ravel()[: len(block)] = to_samples(block)
        contexts = np.concatenate((self._context[None], frames[:-1, -CONTEXT:]))
        self._context = frames[-1, -CONTEXT:]
        return np.concatenate((contexts, frames), axis=1)


@cache
def _session() -> "InferenceSession":
    return session(MODEL)


def session(model: Path) -> "InferenceSession":
    """Load a detector's file. Sessions are safe for threads; of its own it has none, as a recording
    is one of many."""
    import onnxruntime  # here, for it takes a third of a second, and not everybody needs it

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
