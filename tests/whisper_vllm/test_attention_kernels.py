"""The compiled kernels give what attention is defined as, within the steps of eight bits."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.models.whisper_vllm.attention_kernels import TILE, Attend, Store, attend, store

HEADS, SIZE, POSITIONS = 3, 64, 2 * TILE
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Kept:
    """One layer's keys and values, full of what no window has."""

    def __init__(self, slots, size=SIZE):
        self.size = size
        self.arrays = [
            np.full((slots, HEADS, POSITIONS, size), 127, np.int8),
            np.full((slots, HEADS, POSITIONS, size), 127, np.int8),
            np.full((slots, HEADS, 2, POSITIONS), np.nan, np.float32),
        ]

    def store(self, keys, values, slots, lengths, threads=1):
        """keys, values: shape (positions, heads, size), of all windows, end to end."""
        firsts = np.cumsum(lengths) - lengths
        given = Store(
            new_keys=address(keys),
            new_values=address(values),
            stride=keys.shape[1] * self.size,
            firsts=address(firsts),
            slots=address(slots),
            lengths=address(lengths),
        )
        tasks = len(slots) * HEADS * (POSITIONS // TILE)
        self._run(store, given, keys.dtype, tasks, threads)

    def attended(self, query, slots, lengths, threads=1):
        """Shape (rows, heads, size), as the query."""
        output = np.zeros_like(query)
        given = Attend(
            query=address(query),
            output=address(output),
            slots=address(slots),
            lengths=address(lengths),
            scale=self.size**-0.5,
        )
        self._run(attend, given, query.dtype, len(query) * HEADS, threads)
        return output

    def _run(self, kernel, given, dtype, tasks, threads):
        given.keys, given.values, given.scales = map(address, self.arrays)
        given.heads, given.positions, given.size = HEADS, POSITIONS, self.size
        given.is_half, given.tasks = dtype == np.uint16, tasks
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(_CALL(kernel.address), ctypes.addressof(given))
        assert given.next == tasks + threads  # each asked for one more than there was


def address(numbers):
    return numbers.ctypes.data


def halved(numbers):
    """The bits of the bfloat16 below each number's size."""
    return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def defined(query, keys, values):
    """Attention as it is written down. query: shape (heads, size); others: (positions, heads,
    size)."""
    scores = np.einsum("hd,phd->hp", query, keys) * query.shape[-1] ** -0.5
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("hp,phd->hd", weights, values)


@pytest.fixture
def chance():
    return np.random.default_rng(7)


def of(chance, *shape):
    return chance.standard_normal(shape, np.float32)


@pytest.mark.parametrize("size", [32, 64, 80])
@pytest.mark.parametrize("length", [1, 3, TILE - 1, TILE, TILE + 1, 2 * TILE])
def test_a_row_attends_to_its_windows_positions_alone(chance, length, size):
    kept, slots, lengths = Kept(2, size), np.array([1]), np.array([length])
    keys, values, query = (of(chance, n, HEADS, size) for n in (length, length, 1))
    kept.store(keys, values, slots, lengths)
    told = kept.attended(query, slots, lengths)
    assert told[0] == pytest.approx(defined(query[0], keys, values), abs=0.02)


def test_rows_find_their_windows_in_any_order_and_more_rows_than_one_may_have_the_same(chance):
    kept, lengths, slots = Kept(4), np.array([5, 100, 64]), np.array([3, 0, 2])
    keys, values = of(chance, 169, HEADS, SIZE), of(chance, 169, HEADS, SIZE)
    kept.store(keys, values, slots, lengths)
    rows = np.array([2, 0, 0, 1])  # of the three windows
    query = of(chance, 4, HEADS, SIZE)
    told = kept.attended(query, slots[rows], lengths[rows])
    for one, asked, row in zip(told, query, rows, strict=True):
        window = slice(lengths[:row].sum(), lengths[: row + 1].sum())
        assert one == pytest.approx(defined(asked, keys[window], values[window]), abs=0.02)


def test_bfloat16_is_read_and_written_as_its_bits(chance):
    kept, slots, lengths = Kept(1), np.array([0]), np.array([70])
    keys, values, query = (halved(of(chance, n, HEADS, SIZE)) for n in (70, 70, 1))
    kept.store(keys, values, slots, lengths)
    told = widened(kept.attended(query, slots, lengths))
    assert told[0] == pytest.approx(defined(*map(widened, (query[0], keys, values))), abs=0.02)


def test_one_position_that_is_asked_for_loudly_is_told_as_it_is_in_steps_of_its_largest(chance):
    """Scores apart by more than a float's exponent holds; what is left is the value's own steps."""
    kept, slots, lengths = Kept(1), np.array([0]), np.array([10])
    keys, values = np.zeros((10, HEADS, SIZE), np.float32), of(chance, 10, HEADS, SIZE)
    keys[4] = 100
    kept.store(keys, values, slots, lengths)
    told = kept.attended(np.full((1, HEADS, SIZE), 100, np.float32), slots, lengths)[0]
    steps = np.abs(values[4]).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(told - values[4]) <= 0.501 * steps)


def test_a_window_of_nothing_but_zeros_is_attended_to(chance):
    kept, slots, lengths = Kept(1), np.array([0]), np.array([9])
    nothing = np.zeros((9, HEADS, SIZE), np.float32)
    kept.store(nothing, nothing, slots, lengths)
    assert not kept.attended(of(chance, 1, HEADS, SIZE), slots, lengths).any()


def test_a_row_of_no_positions_is_left_as_it_is(chance):
    kept, slots = Kept(1), np.array([0, 0])
    new = of(chance, 9, HEADS, SIZE)
    kept.store(new, new, slots[:1], np.array([9]))
    told = kept.attended(of(chance, 2, HEADS, SIZE), slots, np.array([0, 9]))
    assert not told[0].any()
    assert told[1].all()


def test_several_threads_share_the_work_and_change_nothing(chance):
    slots, lengths = np.arange(8), np.full(8, 100)
    keys, values = of(chance, 800, HEADS, SIZE), of(chance, 800, HEADS, SIZE)
    query = of(chance, 8, HEADS, SIZE)
    one, several = Kept(8), Kept(8)
    one.store(keys, values, slots, lengths)
    several.store(keys, values, slots, lengths, threads=3)
    alone = one.attended(query, slots, lengths)
    assert np.array_equal(several.attended(query, slots, lengths, threads=3), alone)


def test_windows_that_are_there_are_left_alone_by_those_that_come(chance):
    kept, query = Kept(2), of(chance, 1, HEADS, SIZE)
    first, length = np.array([0]), np.array([100])
    kept.store(of(chance, 100, HEADS, SIZE), of(chance, 100, HEADS, SIZE), first, length)
    before = kept.attended(query, first, length)
    kept.store(of(chance, 100, HEADS, SIZE), of(chance, 100, HEADS, SIZE), np.array([1]), length)
    assert np.array_equal(kept.attended(query, first, length), before)
