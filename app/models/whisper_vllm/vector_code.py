"""Parts of kernels that Numba compiles: how they share their work, 16-bit numbers, and instructions
on whole vectors of AVX-512 where what LLVM makes of a loop is not the best there is.

Of an address, rather than an array, a kernel is told as an integer. Numba keeps what it compiled
until the kernel's own module changes: after a change here, delete the *.nbi files beside it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

LANES = 16  # of 32 bits in a vector


def _is_kept() -> bool:
    """Whether Numba finds a folder for what it compiles: beside this module, or in the user's
    cache. Without one each start compiles anew."""
    try:
        FunctionCache(_is_kept)
    except RuntimeError:
        return False
    return True


KEPT = _is_kept()
FAST = {"fastmath": True, "error_model": "numpy", "cache": KEPT}


@intrinsic  # type: ignore[untyped-decorator]
def pointer_to(_: Any, address: Any) -> Any:
    """Return the pointer that an integer is."""

    def pointer(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), pointer


@intrinsic  # type: ignore[untyped-decorator]
def next_task(_: Any, record: Any) -> Any:
    """Return a record's first field, and add one to it, as no other thread can in between."""

    def counted(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        counter = builder.bitcast(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(record), counted


@njit(inline="always")  # type: ignore[untyped-decorator]
def widened(bits: Any) -> Any:
    """Return the number whose upper half a bfloat16 is."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@njit(inline="always")  # type: ignore[untyped-decorator]
def halved(number: Any) -> Any:
    """Return the nearest bfloat16's bits, the even one of two."""
    bits = np.float32(number).view(np.uint32)
    is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    return np.uint16((bits + np.uint32(0x7FFF) + is_odd) >> np.uint32(16))


@njit(**FAST)  # type: ignore[untyped-decorator]
def read(address: Any, is_half: Any, into: Any) -> None:
    """Fill `into`, float32, from bfloat16 or float32 at an address."""
    if is_half:
        half = carray(pointer_to(address), into.shape[0], np.uint16)
        for d in range(into.shape[0]):
            into[d] = widened(half[d])
    else:
        into[:] = carray(pointer_to(address), into.shape[0], np.float32)


class _Bfloat(ir.Type):  # type: ignore[misc]  # untyped
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


INT64, INT32, FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
INTS, FLOATS = ir.VectorType(INT32, LANES), ir.VectorType(FLOAT, LANES)
PAIRS, HALVES = ir.VectorType(_Bfloat(), 2 * LANES), ir.VectorType(_Bfloat(), LANES)
_CURRENT_ROUNDING = ir.Constant(INT32, 4)


class Code:
    """Adds instructions to a function that Numba compiles. Addresses are int64 values."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def plus(self, address: Any, count: Any, size: int) -> Any:
        """Return the address that lies `count` times so many bytes behind another."""
        if isinstance(count, int):
            return self.builder.add(address, ir.Constant(INT64, count * size))
        return self.builder.add(address, self.builder.mul(count, ir.Constant(INT64, size)))

    def load(self, kind: Any, address: Any) -> Any:
        """Return what lies at an address, aligned or not."""
        found = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        found.align = 1
        return found

    def store(self, value: Any, address: Any) -> None:
        """Put a value to an address, aligned or not."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = 1

    def everywhere(self, number: Any) -> Any:
        """Return a vector of one number; a Python float is a constant."""
        if isinstance(number, float):
            return ir.Constant(FLOATS, [number] * LANES)
        vector = ir.VectorType(number.type, LANES)
        unknown, first = ir.Constant(vector, ir.Undefined), ir.Constant(INT32, 0)
        one = self.builder.insert_element(unknown, number, first)
        return self.builder.shuffle_vector(one, unknown, ir.Constant(INTS, [0] * LANES))

    def call(self, name: str, kind: Any, *arguments: Any) -> Any:
        """Return what one of LLVM's intrinsics makes of its arguments."""
        of = ir.FunctionType(kind, [one.type for one in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, of, f"llvm.{name}")
        return self.builder.call(function, arguments)

    def larger(self, one: Any, other: Any) -> Any:
        """Return the larger of two vectors' numbers, each by itself."""
        return self.call("x86.avx512.max.ps.512", FLOATS, one, other, _CURRENT_ROUNDING)

    def scaled(self, vector: Any, doublings: Any) -> Any:
        """Return a vector, doubled so many whole times."""
        all_lanes = ir.Constant(ir.IntType(LANES), -1)
        return self.call(
            "x86.avx512.mask.scalef.ps.512", FLOATS,
            vector, doublings, vector, all_lanes, _CURRENT_ROUNDING,
        )  # fmt: skip

    def sums(self, vector: Any, kind: str = "fadd") -> Any:
        """Return the sum of a vector's numbers, or the largest by "fmax"."""
        start = (ir.Constant(FLOAT, 0.0),) if kind == "fadd" else ()
        name, numbers = f"llvm.vector.reduce.{kind}.v{LANES}f32", (*start, vector)
        of = ir.FunctionType(FLOAT, [one.type for one in numbers])
        function = cgutils.get_or_insert_function(self.builder.module, of, name)
        return self.builder.call(function, numbers, fastmath=("reassoc",))

    def variable(self, start: Any) -> Any:
        """Return where a value lies that a loop changes; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, start.type)
        self.builder.store(start, place)
        return place

    @contextmanager
    def each(self, count: Any) -> Generator[Any]:
        """Repeat what the context adds, with numbers from 0 on."""
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index
