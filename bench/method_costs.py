"""What a quantized Whisper asks of a machine: bytes read and bit operations, from its config.

Of a 30 s window's encoding, the decoder's keys and values over it included, and of each token that
is then decoded. Bit operations are multiplications, each by its weight's bits times its
activation's, as Edge-ASR has them (Feng et al., arXiv:2507.07877). Read are weights with their
scales and zeros, and for a token the window's keys and values too. Convolutions, attention and the
output projection have 16 bits. Left out is what no row changes and what is small: biases, norms,
positions, activations, and attention to the words before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.tuning.groups import WINDOW_ROWS, Group, groups_of
from bench.method_rows import Row

_FRAMES, _MELS, _TAPS = 3000, 80, 3
_FLOAT = 16  # bits


@dataclass(frozen=True)
class Cost:
    """Bytes that are read, and bit operations."""

    read: int
    bit_operations: int


def encode_cost(config: Mapping[str, Any], row: Row | None) -> Cost:
    """Return a window's; None stands for 16 bits throughout."""
    width, layers = config["d_model"], config["encoder_layers"]
    mels = config.get("num_mel_bins", _MELS)
    first, second = _TAPS * mels * width, _TAPS * width * width  # convolutions
    across = 2 * WINDOW_ROWS**2 * width * layers
    floats = _FRAMES * first + WINDOW_ROWS * second + across
    groups = [group for group in groups_of(config) if group.once]
    return _cost(groups, row, WINDOW_ROWS, floats, first + second)


def token_cost(config: Mapping[str, Any], row: Row | None) -> Cost:
    """Return a token's; None stands for 16 bits throughout."""
    width = config["d_model"]
    kept = 2 * WINDOW_ROWS * width * config["decoder_layers"]  # keys and values
    projection = config["vocab_size"] * width
    groups = [group for group in groups_of(config) if not group.once]
    return _cost(groups, row, 1, kept + projection, kept + projection)


def _cost(
    groups: Iterable[Group], row: Row | None, rows: int, floats: int, floats_read: int
) -> Cost:
    """Return the cost of groups that multiply `rows` rows, and of 16-bit numbers beside them."""
    weights, activations = (row.making.bits, row.activations) if row else (_FLOAT, _FLOAT)
    several = [(group.inputs * group.outputs, _bytes(group, row)) for group in groups]
    operations = rows * sum(number for number, _ in several) * weights * activations
    read = sum(size for _, size in several) + floats_read * _FLOAT // 8
    return Cost(read, operations + floats * _FLOAT * _FLOAT)


def _bytes(group: Group, row: Row | None) -> int:
    if row is None:
        return group.bytes("none")
    size = group.bytes(str(row.making.weights))
    if not row.making.zeros:
        return size
    scales = size - group.inputs * group.outputs * row.making.bits // 8
    return size + scales  # a zero is as long as a scale
