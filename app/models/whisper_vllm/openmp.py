"""Work for the threads that PyTorch computes with: a second set of threads would wait for the same
processors."""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch


def on_all_threads(function: int, given: ctypes.Structure) -> None:
    """Call a compiled function, by its address, on each of PyTorch's threads, all with the same
    structure; return when all are done."""
    _parallel()(function, ctypes.addressof(given), 0, 0)  # 0: as many as PyTorch has


@cache
def _parallel() -> Any:
    """Return what a compiler makes of `#pragma omp parallel`, of the OpenMP that PyTorch has loaded
    (GCC's libgomp; LLVM's and Intel's answer to the same name)."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    parallel = ctypes.CDLL(str(library)).GOMP_parallel
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel
