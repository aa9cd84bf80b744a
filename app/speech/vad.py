"""Where somebody speaks: Silero's voice activity detector, as its wheel ships it.

Its `sequence` model takes a block of frames a call and gives each the probability that the model
for streams gives it. The package itself is not imported, because it imports torch; what its
`sequence_vad.py` does around the model is done here.
"""

import importlib.util
from collections.abc import Iterator
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


def speech_probabilities(pcm: Pcm) -> Probabilities:
    """Return for each FRAME, the last one filled up with zeros, how likely somebody speaks in it:
    shape (frames,). Blocking, for some milliseconds a second of sound."""
    state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
    found = [np.empty(0, np.float32)]
    for block in _blocks(pcm):
        fed = {"input": block, "h": state[0], "c": state[1]}
        probabilities, *state = _session().run(None, fed)
        found.append(probabilities.ravel())
    return np.concatenate(found)


def _blocks(pcm: Pcm) -> Iterator[NDArray[np.float32]]:
    """Yield the frames of some seconds, each behind its context: shape (frames, 576)."""
    context = np.zeros(_CONTEXT, np.float32)
    for start in range(0, len(pcm), _BLOCK * FRAME):
        part = pcm[start : start + _BLOCK * FRAME]
        frames = np.zeros((-(-len(part) // FRAME), FRAME), np.float32)
        frames.ravel()[: len(part)] = to_samples(part)
        contexts = np.concatenate((context[None], frames[:-1, -_CONTEXT:]))
        context = frames[-1, -_CONTEXT:]
        yield np.concatenate((contexts, frames), axis=1)


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
