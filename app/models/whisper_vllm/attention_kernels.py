"""Cross-attention over keys and values of eight bits, compiled by Numba for this processor.

A decoder's step gives a window one token, and reads all of the window's keys and values for it:
with several windows at once, more bytes than the decoder's weights, and too many for any cache.
Here they take half of bfloat16's, and a head's lie in one piece, in the order in which they are
read. Each position's are rounded to 127 steps of the largest of its head, as dynamic W8A8 rounds
activations.

One layer's lie so (a slot is a window's place; TILE divides the positions, 4 the size):
keys: int8 (slots, heads, positions / TILE, size, TILE),
values: int8 (slots, heads, positions, size),
scales: float32 (slots, heads, 2, positions), the keys' first.

What a kernel is given it finds by address, in a structure. Its first field counts what was taken
on: whoever is free takes the next, so a thread that lost its processor keeps nobody waiting.
"""

from ctypes import Structure, c_double, c_int64
from typing import Any

import numba
import numpy as np
from numba import carray, cfunc, njit, types

from app.models.whisper_vllm.vector_code import FAST, KEPT, halved, next_task, pointer_to, read

TILE = 64  # positions whose scores are summed at once: four vectors of AVX-512

_LAYER = ("next", "tasks", "keys", "values", "scales", "heads", "positions", "size", "is_half")


class Attend(Structure):
    """Rows, and the layer of keys and values that they attend to.

    query, output: (rows, heads, size), bfloat16 where `is_half`, else float32. slots, lengths:
    int64, of each row, where its window lies and how many positions that has; a row of none is left
    as it is. scale: of the scores. tasks: rows × heads.
    """

    _fields_ = [
        *((name, c_int64) for name in (*_LAYER, "query", "output", "slots", "lengths")),
        ("scale", c_double),
    ]


class Store(Structure):
    """New windows, and the layer that they are stored in.

    new_keys, new_values: windows end to end, rows of `stride` numbers, bfloat16 where `is_half`,
    else float32, that begin with (heads, size). firsts, slots, lengths: int64, of each window, its
    first row, its place and how many rows it has. tasks: windows × heads × positions / TILE.
    """

    _fields_ = [
        (name, c_int64)
        for name in (*_LAYER, "new_keys", "new_values", "stride", "firsts", "slots", "lengths")
    ]


@njit(inline="always")  # type: ignore[untyped-decorator]
def _number(address: Any, at: Any) -> Any:
    """Return one of the int64 that lie at an address."""
    return carray(pointer_to(address), at + 1, np.int64)[at]


@njit(inline="always")  # type: ignore[untyped-decorator]
def _exp(power: Any) -> Any:
    """Return e to a power that is not positive, to one part in a million: 2 to the whole part by
    its bits, times a polynomial of the rest. The library's own takes one number at a time."""
    doublings = max(power, np.float32(-80.0)) * np.float32(1.4426950408889634)
    whole = np.floor(doublings)
    rest = doublings - whole
    product = np.float32(1.8775767e-3)
    product = product * rest + np.float32(8.9893397e-3)
    product = product * rest + np.float32(5.5826318e-2)
    product = product * rest + np.float32(2.4015361e-1)
    product = product * rest + np.float32(6.9315308e-1)
    product = product * rest + np.float32(9.9999994e-1)
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return product * bits.view(np.float32)


@njit(**FAST)  # type: ignore[untyped-decorator]
def _write(address: Any, is_half: Any, row: Any) -> None:
    """Put a row, float32, to an address."""
    if is_half:
        half = carray(pointer_to(address), row.shape[0], np.uint16)
        for d in range(row.shape[0]):
            half[d] = halved(row[d])
    else:
        carray(pointer_to(address), row.shape[0], np.float32)[:] = row


@njit(**FAST)  # type: ignore[untyped-decorator]
def _score(query: Any, keys: Any, scales: Any, length: Any, scores: Any, sums: Any) -> Any:
    """Fill `scores` up to the end of the last tile; return the largest of the positions that are
    there."""
    for tile in range((length + TILE - 1) // TILE):
        for p in range(TILE):
            sums[p] = 0
        for d in range(0, query.shape[0], 4):
            a, b, c, e = query[d], query[d + 1], query[d + 2], query[d + 3]
            for p in range(TILE):
                sums[p] += (
                    a * np.float32(keys[tile, d, p])
                    + b * np.float32(keys[tile, d + 1, p])
                    + c * np.float32(keys[tile, d + 2, p])
                    + e * np.float32(keys[tile, d + 3, p])
                )
        for p in range(TILE):
            scores[tile * TILE + p] = sums[p] * scales[tile * TILE + p]
    top = np.float32(-3e38)
    for t in range(length):
        top = max(top, scores[t])
    return top


@njit(**FAST)  # type: ignore[untyped-decorator]
def _weigh(scores: Any, scales: Any, length: Any, top: Any) -> Any:
    """Turn scores into weights of the values as they lie, with nothing behind the last position;
    return what weights without scales add up to."""
    total = np.float32(0)
    for t in range(length):
        weight = _exp(scores[t] - top)
        total += weight
        scores[t] = weight * scales[t]
    for t in range(length, (length + 3) // 4 * 4):
        scores[t] = 0
    return total


@njit(**FAST)  # type: ignore[untyped-decorator]
def _add_up(weights: Any, values: Any, length: Any, sums: Any) -> None:
    """Fill `sums` with the values by their weights, four at a time: TILE is a multiple."""
    for d in range(sums.shape[0]):
        sums[d] = 0
    for t in range(0, length, 4):
        a, b, c, e = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for d in range(sums.shape[0]):
            sums[d] += (
                a * np.float32(values[t, d])
                + b * np.float32(values[t + 1, d])
                + c * np.float32(values[t + 2, d])
                + e * np.float32(values[t + 3, d])
            )


@njit(**FAST)  # type: ignore[untyped-decorator]
def _of_head(record: Any, slot: Any, head: Any) -> Any:
    """Return a head's keys, values and scales."""
    positions, size = record.positions, record.size
    region = slot * record.heads + head
    numbers = region * positions * size
    keys = carray(pointer_to(record.keys + numbers), (positions // TILE, size, TILE), np.int8)
    values = carray(pointer_to(record.values + numbers), (positions, size), np.int8)
    scales = carray(pointer_to(record.scales + region * positions * 8), (2, positions), np.float32)
    return keys, values, scales


@njit(**FAST)  # type: ignore[untyped-decorator]
def _attend_one(record: Any, task: Any, query: Any, scores: Any, sums: Any, output: Any) -> None:
    """Compute what one head of one row attends to."""
    row, head = task // record.heads, task % record.heads
    length = _number(record.lengths, row)
    if length == 0:
        return
    keys, values, scales = _of_head(record, _number(record.slots, row), head)
    at = task * record.size * (2 if record.is_half else 4)
    read(record.query + at, record.is_half, query)
    for d in range(record.size):
        query[d] *= np.float32(record.scale)
    top = _score(query, keys, scales[0], length, scores, sums)
    part = np.float32(1) / _weigh(scores, scales[1], length, top)
    _add_up(scores, values, length, output)
    for d in range(record.size):
        output[d] *= part
    _write(record.output + at, record.is_half, output)


@cfunc(types.void(types.CPointer(numba.from_dtype(np.dtype(Attend)))), cache=KEPT)  # type: ignore[untyped-decorator]
def attend(pointer: Any) -> None:
    """Compute what rows attend to, as far as nobody else does; pointer: to an Attend."""
    record = carray(pointer, 1)[0]
    query, output = np.empty(record.size, np.float32), np.empty(record.size, np.float32)
    sums, scores = np.empty(TILE, np.float32), np.empty(record.positions, np.float32)
    task = next_task(pointer)
    while task < record.tasks:
        _attend_one(record, task, query, scores, sums, output)
        task = next_task(pointer)


@njit(**FAST)  # type: ignore[untyped-decorator]
def _round(address: Any, is_half: Any, stride: Any, row: Any, into: Any, scales: Any) -> None:
    """Round as many rows from an address on as there are scales for, into eight bits."""
    for n in range(scales.shape[0]):
        read(address + n * stride, is_half, row)
        top = np.float32(1e-20)
        for d in range(row.shape[0]):
            top = max(top, abs(row[d]))
        steps = np.float32(127) / top
        for d in range(row.shape[0]):
            into[n, d] = np.int8(np.rint(row[d] * steps))
        scales[n] = top / np.float32(127)


@njit(**FAST)  # type: ignore[untyped-decorator]
def _store_one(record: Any, task: Any, row: Any, rounded: Any) -> None:
    """Store one tile of one head of one window."""
    heads, tiles = record.heads, record.positions // TILE
    head, tile, window = task % heads, task // heads % tiles, task // heads // tiles
    first = tile * TILE
    end = min(first + TILE, _number(record.lengths, window))
    if end <= first:
        return
    keys, values, scales = _of_head(record, _number(record.slots, window), head)
    width = 2 if record.is_half else 4
    stride = record.stride * width
    at = (_number(record.firsts, window) + first) * stride + head * record.size * width
    _round(record.new_keys + at, record.is_half, stride, row, rounded, scales[0, first:end])
    for d in range(record.size):
        for p in range(TILE):
            keys[tile, d, p] = rounded[p, d]
    _round(
        record.new_values + at, record.is_half, stride, row, values[first:], scales[1, first:end]
    )


@cfunc(types.void(types.CPointer(numba.from_dtype(np.dtype(Store)))), cache=KEPT)  # type: ignore[untyped-decorator]
def store(pointer: Any) -> None:
    """Store new windows' keys and values, as far as nobody else does; pointer: to a Store."""
    record = carray(pointer, 1)[0]
    row, rounded = np.empty(record.size, np.float32), np.zeros((TILE, record.size), np.int8)
    task = next_task(pointer)
    while task < record.tasks:
        _store_one(record, task, row, rounded)
        task = next_task(pointer)
