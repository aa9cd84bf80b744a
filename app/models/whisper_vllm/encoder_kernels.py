"""The encoder's attention with scores from eight bits, compiled by Numba for this processor.

Every position is compared with every other: the most products that a window takes. Queries and keys
are rounded to 127 steps of the largest of a head's position, as dynamic W8A8 rounds activations;
before that each key loses what a head's keys have in common, which changes none of its weights
(SageAttention, Zhang et al., arXiv:2410.02367). Weights and values stay in bfloat16.

One head's keys and values lie so, for instructions that multiply four bytes, or two bfloat16, of
each lane at once (padded: positions up to the next whole TILE):
keys: uint8 (padded / TILE, SIZE / 4, TILE, 4), 128 more than they are,
key_scales: float32 (padded,),
values: bfloat16 (padded / 2, SIZE, 2).
"""

from ctypes import Structure, c_double, c_int64
from typing import Any

import numba
import numpy as np
from numba import carray, cfunc, njit, types

from app.models.whisper_vllm.encoder_vectors import NOTHING, ROWS, SIZE, TILE, add_up, score, weigh
from app.models.whisper_vllm.vector_code import (
    FAST,
    KEPT,
    LANES,
    halved,
    next_task,
    pointer_to,
    read,
)

TASK_ROWS = 10 * ROWS  # what a thread takes on at once

_LAYER = (
    "next", "tasks", "stride", "heads", "length", "padded", "keys", "key_scales", "values",
)  # fmt: skip


class Pack(Structure):
    """Windows' keys and values, and where they are packed.

    new_keys, new_values: windows of `length` rows end to end, bfloat16, `stride` numbers apart,
    that begin with (heads, SIZE). tasks: windows × heads.
    """

    _fields_ = [(name, c_int64) for name in (*_LAYER, "new_keys", "new_values")]


class Attend(Structure):
    """Windows' queries, and what is packed.

    query: as new_keys of Pack. output: bfloat16 (windows, length, heads, SIZE). scale: of the
    scores. tasks: windows × heads × length / TASK_ROWS, rounded up.
    """

    _fields_ = [*((name, c_int64) for name in (*_LAYER, "query", "output")), ("scale", c_double)]


@njit(**FAST)  # type: ignore[untyped-decorator]
def _step(row: Any) -> Any:
    """Return what one of 127 steps to the largest number of a row is."""
    top = np.float32(1e-20)
    for d in range(SIZE):
        top = max(top, abs(row[d]))
    return top / np.float32(127)


@njit(**FAST)  # type: ignore[untyped-decorator]
def _pack_keys(
    address: Any, stride: Any, length: Any, keys: Any, scales: Any, scratch: Any
) -> None:
    """Pack one head's keys, of rows so many bytes apart from an address on."""
    row, common, bytes_ = scratch
    common[:] = 0
    for t in range(length):
        read(address + t * stride, True, row)
        for d in range(SIZE):
            common[d] += row[d]
    for d in range(SIZE):
        common[d] /= np.float32(length)
    for t in range(length):
        read(address + t * stride, True, row)
        for d in range(SIZE):
            row[d] -= common[d]
        step = _step(row)
        for d in range(SIZE):
            bytes_[d] = np.uint32(np.int32(np.rint(row[d] / step)) + 128)
        for four in range(SIZE // 4):
            a, b, c, e = bytes_[4 * four : 4 * four + 4]
            word = a | b << np.uint32(8) | c << np.uint32(16) | e << np.uint32(24)
            keys[t // TILE, four, t % TILE] = word
        scales[t] = step


@njit(**FAST)  # type: ignore[untyped-decorator]
def _pack_values(address: Any, stride: Any, length: Any, values: Any) -> None:
    """Pack one head's values, of rows so many bytes apart from an address on."""
    for pair in range((length + 1) // 2):
        first = carray(pointer_to(address + 2 * pair * stride), SIZE, np.uint16)
        if 2 * pair + 1 < length:
            second = carray(pointer_to(address + (2 * pair + 1) * stride), SIZE, np.uint16)
            for d in range(SIZE):
                values[pair, d] = np.uint32(first[d]) | np.uint32(second[d]) << np.uint32(16)
        else:
            for d in range(SIZE):
                values[pair, d] = np.uint32(first[d])


@njit(**FAST)  # type: ignore[untyped-decorator]
def _pack_one(record: Any, task: Any, scratch: Any) -> None:
    """Pack one head of one window."""
    padded, stride = record.padded, 2 * record.stride
    window, head = task // record.heads, task % record.heads
    first = window * record.length * stride + 2 * head * SIZE
    shape = padded // TILE, SIZE // 4, TILE
    keys = carray(pointer_to(record.keys + task * padded * SIZE), shape, np.uint32)
    scales = carray(pointer_to(record.key_scales + 4 * task * padded), padded, np.float32)
    shape_of_pairs = padded // 2, SIZE
    values = carray(pointer_to(record.values + 2 * task * padded * SIZE), shape_of_pairs, np.uint32)
    _pack_keys(record.new_keys + first, stride, record.length, keys, scales, scratch)
    _pack_values(record.new_values + first, stride, record.length, values)


@cfunc(types.void(types.CPointer(numba.from_dtype(np.dtype(Pack)))), cache=KEPT)  # type: ignore[untyped-decorator]
def pack(pointer: Any) -> None:
    """Pack windows' keys and values, as far as nobody else does; pointer: to a Pack."""
    record = carray(pointer, 1)[0]
    scratch = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32), np.empty(SIZE, np.uint32)
    task = next_task(pointer)
    while task < record.tasks:
        _pack_one(record, task, scratch)
        task = next_task(pointer)


@njit(**FAST)  # type: ignore[untyped-decorator]
def _round_queries(
    address: Any, stride: Any, count: Any, row: Any, queries: Any, starts: Any, factors: Any
) -> None:
    """Round rows of queries, and say what takes 128 off each byte of their keys."""
    for r in range(count):
        read(address + r * stride, True, row)
        step = _step(row)
        total = np.int32(0)
        for d in range(SIZE):
            number = np.int32(np.rint(row[d] / step))
            queries[r, d] = np.int8(number)
            total += number
        starts[r] = np.int32(-128) * total
        factors[r] = step


@njit(**FAST)  # type: ignore[untyped-decorator]
def _attend_rows(record: Any, region: Any, first: Any, count: Any, scratch: Any) -> None:
    """Compute what some rows of one head of one window attend to, ROWS at the most."""
    row, queries, starts, factors, scores, weights, sums = scratch
    padded, length, heads = record.padded, record.length, record.heads
    stride, across = 2 * record.stride, region // heads * length + first
    address = record.query + across * stride + 2 * (region % heads) * SIZE
    _round_queries(address, stride, count, row, queries, starts, factors)
    keys, scales = record.keys + region * padded * SIZE, record.key_scales + 4 * region * padded
    for tile in range(padded // TILE):
        score(
            queries.ctypes.data, keys + tile * TILE * SIZE, scales + 4 * tile * TILE,
            starts.ctypes.data, scores.ctypes.data + 4 * tile * TILE, 4 * padded,
        )  # fmt: skip
    for r in range(count):
        scores[r, length:] = np.float32(NOTHING)
        factor = factors[r] * np.float32(record.scale * 1.4426950408889634)  # e is 2 to this
        of_row = scores.ctypes.data + 4 * r * padded, weights.ctypes.data + 2 * r * padded
        factors[r] = np.float32(1) / weigh(of_row[0], factor, padded // LANES, of_row[1])
    values = record.values + 2 * region * padded * SIZE
    add_up(weights.ctypes.data, 2 * padded, values, (length + 1) // 2, sums.ctypes.data)
    for r in range(count):
        at_row = ((across + r) * heads + region % heads) * SIZE
        output = carray(pointer_to(record.output + 2 * at_row), SIZE, np.uint16)
        for d in range(SIZE):
            output[d] = halved(sums[r, d] * factors[r])


@cfunc(types.void(types.CPointer(numba.from_dtype(np.dtype(Attend)))), cache=KEPT)  # type: ignore[untyped-decorator]
def attend(pointer: Any) -> None:
    """Compute what windows attend to, as far as nobody else does; pointer: to an Attend."""
    record = carray(pointer, 1)[0]
    scratch = (
        np.empty(SIZE, np.float32),
        np.zeros((ROWS, SIZE), np.int8),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.float32),
        np.zeros((ROWS, record.padded), np.float32),
        np.zeros((ROWS, record.padded), np.uint16),
        np.zeros((ROWS, SIZE), np.float32),
    )
    tasks_a_region = (record.length + TASK_ROWS - 1) // TASK_ROWS
    task = next_task(pointer)
    while task < record.tasks:
        region, begin = task // tasks_a_region, task % tasks_a_region * TASK_ROWS
        end = min(record.length, begin + TASK_ROWS)
        for first in range(begin, end, ROWS):
            _attend_rows(record, region, first, min(ROWS, end - first), scratch)
        task = next_task(pointer)
