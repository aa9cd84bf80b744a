"""The encoder's attention, in instructions on whole vectors: ROWS rows of one head at a time, whose
sums stay in registers. How keys and values lie is told in encoder_kernels.py."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from app.models.whisper_vllm.vector_code import (
    FLOATS,
    HALVES,
    INT32,
    INTS,
    LANES,
    PAIRS,
    Code,
)
from app.process import processor_flags

SIZE = 64  # of a head: every Whisper's
TILE = 64  # positions whose scores are summed at once: four vectors
ROWS = 6  # times four vectors of sums are 24 of 32 registers
NOTHING = -3e38  # the score of a position that is not there
_VECTORS = TILE // LANES
_NEEDED = frozenset(("avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"))
_FASTER = frozenset(("amx_bf16",))  # multiplies bfloat16 at several times the rate


def gains() -> bool:
    """Whether this processor has the instructions, and none that do better. What compiles these
    kernels (encoder_kernels.py) may not be imported where it has not."""
    flags = processor_flags()
    return flags >= _NEEDED and not flags & _FASTER


@intrinsic  # type: ignore[untyped-decorator]
def score(_: Any, queries: Any, keys: Any, scales: Any, starts: Any, scores: Any, row: Any) -> Any:
    """Fill ROWS rows of scores, so many bytes apart, for the positions of a tile. queries: int8
    (ROWS, SIZE). starts: int32, where each row's sums begin."""

    def code(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        queries, keys, scales, starts, scores, row = arguments
        emit = Code(builder)
        sums = []
        for r in range(ROWS):
            start = emit.everywhere(emit.load(INT32, emit.plus(starts, r, 4)))
            sums.append([start] * _VECTORS)
        for four in range(SIZE // 4):
            vectors = [
                emit.load(INTS, emit.plus(keys, four * _VECTORS + v, 64)) for v in range(_VECTORS)
            ]
            for r in range(ROWS):
                bytes_ = emit.load(INT32, emit.plus(queries, r * SIZE + 4 * four, 1))
                query = emit.everywhere(bytes_)
                for v, vector in enumerate(vectors):
                    name = "x86.avx512.vpdpbusd.512"
                    sums[r][v] = emit.call(name, INTS, sums[r][v], vector, query)
        for v in range(_VECTORS):
            scale = emit.load(FLOATS, emit.plus(scales, v, 64))
            for r in range(ROWS):
                score = builder.fmul(builder.sitofp(sums[r][v], FLOATS), scale)
                of_row = builder.add(scores, builder.mul(row, ir.Constant(row.type, r)))
                emit.store(score, emit.plus(of_row, v, 64))

    return types.void(*[types.int64] * 6), code


@intrinsic  # type: ignore[untyped-decorator]
def weigh(_: Any, scores: Any, factor: Any, vectors: Any, weights: Any) -> Any:
    """Fill a row's weights, bfloat16: two to the power of what a score times a factor is below the
    largest. Return what they add up to."""

    def code(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        scores, factor, vectors, weights = arguments
        emit = Code(builder)
        top = emit.variable(emit.everywhere(NOTHING))
        with emit.each(vectors) as n:
            score = emit.load(FLOATS, emit.plus(scores, n, 64))
            builder.store(emit.larger(builder.load(top), score), top)
        largest = builder.fmul(emit.sums(builder.load(top), "fmax"), factor)
        below, factors = emit.everywhere(builder.fneg(largest)), emit.everywhere(factor)
        total = emit.variable(emit.everywhere(0.0))
        with emit.each(vectors) as n:
            score = emit.load(FLOATS, emit.plus(scores, n, 64))
            weight = _exp2(emit, emit.call("fma.v16f32", FLOATS, score, factors, below))
            builder.store(builder.fadd(builder.load(total), weight), total)
            half = emit.call("x86.avx512bf16.cvtneps2bf16.512", HALVES, weight)
            emit.store(half, emit.plus(weights, n, 32))
        return emit.sums(builder.load(total))

    return types.float32(types.int64, types.float32, types.int64, types.int64), code


def _exp2(emit: Code, power: Any) -> Any:
    """Return two to a power that is not positive, to some millionths: by its whole part, times a
    polynomial of the rest."""
    power = emit.larger(power, emit.everywhere(-120.0))
    whole = emit.call("floor.v16f32", FLOATS, power)
    rest = emit.builder.fsub(power, whole)
    product = emit.everywhere(0.0135766)
    for constant in (0.0520302, 0.2413838, 0.6930036, 1.0000026):
        product = emit.call("fma.v16f32", FLOATS, product, rest, emit.everywhere(constant))
    return emit.scaled(product, whole)


@intrinsic  # type: ignore[untyped-decorator]
def add_up(_: Any, weights: Any, row: Any, values: Any, pairs: Any, sums: Any) -> Any:
    """Fill sums, float32 (ROWS, SIZE), with the values by the weights of ROWS rows, so many bytes
    apart, two positions at a time."""

    def code(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        weights, row, values, pairs, sums = arguments
        emit = Code(builder)
        zero = emit.everywhere(0.0)
        added = [[emit.variable(zero) for _ in range(_VECTORS)] for _ in range(ROWS)]
        rows = [
            builder.add(weights, builder.mul(row, ir.Constant(row.type, r))) for r in range(ROWS)
        ]
        with emit.each(pairs) as n:
            of_pair = emit.plus(values, n, 4 * SIZE)
            vectors = [emit.load(PAIRS, emit.plus(of_pair, v, 64)) for v in range(_VECTORS)]
            for r in range(ROWS):
                two = emit.everywhere(emit.load(INT32, emit.plus(rows[r], n, 4)))
                weight = builder.bitcast(two, PAIRS)
                for v, vector in enumerate(vectors):
                    name, place = "x86.avx512bf16.dpbf16ps.512", added[r][v]
                    so_far = emit.call(name, FLOATS, builder.load(place), vector, weight)
                    builder.store(so_far, place)
        for r in range(ROWS):
            for v in range(_VECTORS):
                emit.store(builder.load(added[r][v]), emit.plus(sums, r * _VECTORS + v, 64))

    return types.void(*[types.int64] * 5), code
