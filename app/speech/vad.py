"""Where somebody speaks: Silero's voice activity detector, as its wheel ships it.

Its `sequence` model takes a block of frames a call and gives each the probability that the model
for streams gives it. The package itself is not imported, because it imports torch; what its
`sequence_vad.py` does around the model is done here.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.audio.waveform import Pcm, to_samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FRAME = 512  # samples, 32 ms: what a probability is of
_CONTEXT = 64  # samples of the frame before, which the model reads too
_BLOCK = 512  # frames a call, 16 s
_MODEL = "data/silero_vad_16k_sequence.onnx"

Probabilities = NDArray[np.float32]


class SpeechDetector:
    """Finds how likely somebody speaks in each FRAME of a recording, which may still be coming."""

    def __init__(self) -> None:
        self._state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
        self._context = np.zeros(_CONTEXT, np.float32)
        self._found = [np.empty(0, np.float32)]
        self._heard = 0  # samples

    def hear(self, pcm: Pcm) -> None:
        """Take in the whole blocks of what is there of a recording so far: of all from its
        beginning. Blocking, for some milliseconds a second of sound."""
        while len(pcm) - self._heard >= _BLOCK * FRAME:
            self._take(pcm[self._heard : self._heard + _BLOCK * FRAME])

    def probabilities(self, pcm: Pcm) -> Probabilities:
        """Return for each frame of a whole recording, the last one filled up with zeros, how likely
        somebody speaks in it: shape (frames,). Once. Blocking, as `hear` is."""
        self.hear(pcm)
        if len(pcm) > self._heard:
            self._take(pcm[self._heard :])
        return np.concatenate(self._found)

    def _take(self, block: Pcm) -> None:
        fed = {"input": self._frames(block), "h": self._state[0], "c": self._state[1]}
        probabilities, *self._state = _session().run(None, fed)
        self._found.append(probabilities.ravel())
        self._heard += len(block)

    def _frames(self, block: Pcm) -> NDArray[np.float32]:
        """Return a block's frames, each behind its context: shape (frames, 576)."""
        frames = np.zeros((-(-len(block) // FRAME), FRAME), np.float32)
        frames.ravel()[: len(block)] = to_samples(block)
        contexts = np.concatenate((self._context[None], frames[:-1, -_CONTEXT:]))
        self._context = frames[-1, -_CONTEXT:]
        return np.concatenate((contexts, frames), axis=1)


@cache
def _session() -> "InferenceSession":
    """Load the model. Sessions are safe for threads; of its own it has none, as a recording is one
    of many."""
    import onnxruntime  # here, for it takes a third of a second, and not everybody needs it

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(_folder() / _MODEL), options, providers=["CPUExecutionProvider"]
    )


def _folder() -> Path:
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("silero-vad is not installed", name="silero_vad")
    return Path(spec.submodule_search_locations[0])
