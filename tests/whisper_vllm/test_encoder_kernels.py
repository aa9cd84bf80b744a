"""The encoder's kernels give what attention is defined as, within the steps of eight bits."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.models.whisper_vllm.encoder_vectors import ROWS, SIZE, TILE, gains
from tests.whisper_vllm.test_attention_kernels import address, defined, halved, widened

if not gains():
    pytest.skip("this processor has not the instructions", allow_module_level=True)
from app.models.whisper_vllm.encoder_kernels import TASK_ROWS, Attend, Pack, attend, pack

HEADS, MOST = 3, 4 * TILE
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Encoder:
    """Room for windows' keys and values, full of what no window has, to begin with."""

    def __init__(self):
        regions = 4 * HEADS
        self.arrays = [
            np.full(regions * MOST * SIZE, 255, np.uint8),
            np.full(regions * MOST, np.nan, np.float32),
            np.full(regions * MOST * SIZE, 0x7F00, np.uint16),  # a very large number
        ]

    def attended(self, query, key, value, threads=1):
        """All: bits of bfloat16, shape (windows, positions, heads, size)."""
        windows, length = query.shape[:2]
        output = np.zeros_like(query)
        keys, scales, values = map(address, self.arrays)
        layer = {
            "stride": HEADS * SIZE, "heads": HEADS, "length": length,
            "padded": -(-length // TILE) * TILE,
            "keys": keys, "key_scales": scales, "values": values,
        }  # fmt: skip
        packing = Pack(new_keys=address(key), new_values=address(value), **layer)
        self._run(pack, packing, windows * HEADS, threads)
        attending = Attend(query=address(query), output=address(output), scale=SIZE**-0.5, **layer)
        self._run(attend, attending, windows * HEADS * -(-length // TASK_ROWS), threads)
        return output

    def _run(self, kernel, given, tasks, threads):
        given.tasks = tasks
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(_CALL(kernel.address), ctypes.addressof(given))
        assert given.next == tasks + threads  # each asked for one more than there was


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def chance():
    return np.random.default_rng(7)


def of(chance, windows, length):
    numbers = chance.standard_normal((3, windows, length, HEADS, SIZE), np.float32)
    return [halved(one) for one in numbers]


def expected(query, key, value):
    return np.array(
        [
            [defined(row, keys, values) for row in rows]
            for rows, keys, values in zip(*map(widened, (query, key, value)), strict=True)
        ]
    )


@pytest.mark.parametrize(
    "length", [1, 2, ROWS, ROWS + 1, TASK_ROWS - 1, TASK_ROWS, TILE, TILE + 1, 2 * TILE + 7, MOST]
)
def test_positions_attend_to_all_of_their_window(encoder, chance, length):
    given = of(chance, 1, length)
    assert widened(encoder.attended(*given)) == pytest.approx(expected(*given), abs=0.03)


def test_windows_of_one_step_do_not_attend_to_each_other(encoder, chance):
    given = of(chance, 3, 75)
    assert widened(encoder.attended(*given)) == pytest.approx(expected(*given), abs=0.03)


def test_what_a_longer_window_has_left_is_not_attended_to(encoder, chance):
    encoder.attended(*of(chance, 2, MOST))
    given = of(chance, 1, 33)
    assert widened(encoder.attended(*given)) == pytest.approx(expected(*given), abs=0.03)


def test_several_threads_share_the_work(encoder, chance):
    given = of(chance, 2, 200)
    alone = encoder.attended(*given)
    np.testing.assert_array_equal(encoder.attended(*given, threads=3), alone)


def test_what_all_keys_have_in_common_takes_none_of_the_steps(encoder, chance):
    query, key, value = of(chance, 1, 100)
    common = 50 * chance.standard_normal((HEADS, SIZE), np.float32)
    shifted = halved(widened(key) + common)
    told = widened(encoder.attended(query, shifted, value))
    assert told == pytest.approx(expected(query, shifted, value), abs=0.05)


def test_one_position_that_is_asked_for_loudly_is_told_as_it_is(encoder, chance):
    """Scores apart by more than a float's exponent holds."""
    query, key, value = of(chance, 1, 70)
    query[:], key[:] = halved(np.full(1, 100.0)), 0
    key[:, 4] = halved(np.full(1, 100.0))
    told = widened(encoder.attended(query, key, value))
    assert told[0] == pytest.approx(np.broadcast_to(widened(value[0, 4]), told[0].shape), rel=0.01)


def test_a_window_of_nothing_but_zeros_is_attended_to(encoder, chance):
    query, key, _ = of(chance, 1, 9)
    assert not encoder.attended(query, key, np.zeros_like(key)).any()
    nothing = np.zeros_like(key)
    assert not encoder.attended(nothing, nothing, nothing).any()
