"""Writes app/speech/detector.onnx: Silero's voice activity detector, for many frames at once.

    make detector

The weights are those of the `silero-vad` wheel, and so is what they compute. The wheel's own graph
convolves each frame by itself, four columns wide, which leaves a processor's vectors three quarters
empty; this one multiplies the frames of a call together, in 0.3 of the time (bench/detector.py).
"""

import shutil
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto, ValueInfoProto

from app.speech.vad import CONTEXT, FRAME, MODEL

_WINDOW, _HOP = 256, 128  # samples of a spectrum, and between two
_SPECTRA = 4  # of a frame
_TAPS = 3  # positions that a convolution reads
_STRIDES = (1, 2, 2, 1)  # of the convolutions
_WIDTH = 128  # of the LSTM
_OPSET, _IR = 16, 8
THEIRS = "silero_vad_16k_sequence.onnx"

Array = NDArray[Any]
_Shapes = dict[str, list[str | int]]


def main() -> None:
    MODEL.write_bytes(detector(onnx.load(wheel_file(THEIRS))).SerializeToString())
    shutil.copyfile(wheel_file("LICENSE"), MODEL.with_suffix(".LICENSE"))


def wheel_file(name: str) -> Path:
    wheel = distribution("silero-vad")
    (file,) = (file for file in wheel.files or () if file.name == name)
    return Path(str(wheel.locate_file(file)))


def detector(theirs: ModelProto) -> ModelProto:
    """Build the detector of the wheel's. It takes frames behind their contexts, shape (frames,
    576), and the LSTM's state before them, h and c, shape (1, 1, 128); it gives each frame's
    probability of speech, shape (frames,), and the state behind them."""
    basis, *convolutions, lstm, output = _weights(theirs)
    graph = _Graph()
    rows, length = _magnitudes(graph, basis[0]), _SPECTRA
    for stride, (weight, bias) in zip(_STRIDES, convolutions, strict=True):
        rows, length = _convolved(graph, rows, length, stride, weight, bias), length // stride
    heard = _remembered(graph, rows, lstm)
    weight, bias = output
    said = graph.add("Sigmoid", graph.linear(heard, weight[:, :, 0].T, bias))
    graph.add("Reshape", said, graph.constant([-1]), out="speech_probs")
    return graph.model()


def _weights(theirs: ModelProto) -> list[list[Array]]:
    """Return what each node of a model that has weights has of them, in their order: the spectra's,
    the convolutions', the LSTM's, the output's."""
    known = {one.name: numpy_helper.to_array(one) for one in theirs.graph.initializer}
    of_nodes = ([known[name] for name in node.input if name in known] for node in theirs.graph.node)
    return [weights for weights in of_nodes if weights]


class _Graph:
    """Nodes and constants, each under a number."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Array | list[int]) -> str:
        name = f"constant-{len(self._constants)}"
        array = np.ascontiguousarray(value)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add a node of one output, and return that."""
        out = out or f"{kind}-{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def add_lstm(self, *inputs: str) -> str:
        """Add the LSTM; return what it says of each frame."""
        node = helper.make_node("LSTM", inputs, ["said", "hn", "cn"], hidden_size=_WIDTH)
        self._nodes.append(node)
        return "said"

    def linear(self, rows: str, weight: Array, bias: Array) -> str:
        """Return rows times a weight, shape (in, out), and a bias."""
        return self.add("Add", self.add("MatMul", rows, self.constant(weight)), self.constant(bias))

    def columns(self, rows: str, bounds: Iterable[tuple[int, int]], width: int) -> str:
        """Return of each row the columns between bounds, one below the other: rows of that
        width."""
        axis = self.constant([1])
        cut = [
            self.add("Slice", rows, self.constant([start]), self.constant([end]), axis)
            for start, end in bounds
        ]
        joined = self.add("Concat", *cut, axis=1) if len(cut) > 1 else cut[0]
        return self.add("Reshape", joined, self.constant([-1, width]))

    def model(self) -> ModelProto:
        state: list[str | int] = [1, 1, _WIDTH]
        inputs: _Shapes = {"input": ["frames", CONTEXT + FRAME], "h": state, "c": state}
        outputs: _Shapes = {"speech_probs": ["frames"], "hn": state, "cn": state}
        graph = helper.make_graph(
            self._nodes, "detector", _described(inputs), _described(outputs), self._constants
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR)
        onnx.checker.check_model(model, full_check=True)
        return model


def _described(shapes: _Shapes) -> list[ValueInfoProto]:
    """Return inputs or outputs as a graph has them."""
    return [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]


def _magnitudes(graph: _Graph, basis: Array) -> str:
    """Return the spectra of each frame, the end mirrored for the last one."""
    mirrored = graph.constant([0, 0, 0, _WINDOW - _HOP - CONTEXT])
    padded = graph.add("Pad", "input", mirrored, mode="reflect")
    starts = (_HOP * number for number in range(_SPECTRA))
    windows = graph.columns(padded, ((one, one + _WINDOW) for one in starts), _WINDOW)
    squares = []
    for part in np.split(basis[:, 0], 2):  # real and imaginary
        found = graph.add("MatMul", windows, graph.constant(part.T))
        squares.append(graph.add("Mul", found, found))
    return graph.add("Sqrt", graph.add("Add", *squares))


def _convolved(
    graph: _Graph, rows: str, length: int, stride: int, weight: Array, bias: Array
) -> str:
    """Return what a convolution of three taps makes of frames of so many rows, without what is
    below 0. weight: shape (out, in, 3)."""
    out, width, _ = weight.shape
    if length == 1:  # on both sides there is nothing but zeros
        return graph.add("Relu", graph.linear(rows, weight[:, :, 1].T, bias))
    frames = graph.add("Reshape", rows, graph.constant([-1, length * width]))
    padded = graph.add("Pad", frames, graph.constant([0, width, 0, width]))
    bounds = ((at * width, (at + _TAPS) * width) for at in range(0, length, stride))
    taps = graph.columns(padded, bounds, _TAPS * width)
    flat = weight.transpose(2, 1, 0).reshape(_TAPS * width, out)
    return graph.add("Relu", graph.linear(taps, flat, bias))


def _remembered(graph: _Graph, rows: str, weights: list[Array]) -> str:
    """Return the LSTM's outputs, without what is below 0: shape (frames, 128)."""
    steps = graph.add("Unsqueeze", rows, graph.constant([1]))
    said = graph.add_lstm(steps, *(graph.constant(one) for one in weights), "", "h", "c")
    return graph.add("Relu", graph.add("Reshape", said, graph.constant([-1, _WIDTH])))


if __name__ == "__main__":
    main()
