from pathlib import Path

import numpy as np
import onnx
import pytest

from app.audio.decode import decode
from app.environment import DEMO
from app.speech.vad import CONTEXT, FRAME, MODEL, session
from tools.detector import THEIRS, detector, wheel_file

RECORDINGS = DEMO / "recordings"


@pytest.fixture(scope="module")
def theirs() -> Path:
    return wheel_file(THEIRS)


def test_the_model_is_what_its_tool_writes(theirs):
    assert onnx.load(MODEL) == detector(onnx.load(theirs))


@pytest.mark.parametrize("name", ["mayday.mp3", "readers/00.ogg"])
def test_frames_are_as_likely_speech_as_the_wheels_model_has_them(name, theirs):
    with (RECORDINGS / name).open("rb") as file:
        samples = decode(file, max_seconds=60).samples
    ours, its = heard(session(MODEL), samples), heard(session(theirs), samples)
    for mine, other in zip(ours, its, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3)
    np.testing.assert_allclose(ours[0], its[0], atol=1e-4)


def heard(model, samples):
    """Probabilities, and the state behind them."""
    padded = np.concatenate((np.zeros(CONTEXT, np.float32), samples))
    count = len(samples) // FRAME
    frames = np.stack([padded[n * FRAME : (n + 1) * FRAME + CONTEXT] for n in range(count)])
    nothing = np.zeros((1, 1, 128), np.float32)
    return model.run(None, {"input": frames, "h": nothing, "c": nothing})
