"""What passes between the server and a process that decodes: files and samples, as descriptors."""

import fcntl
import io
import mmap
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

import numpy as np

from app.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE, Pcm

_SMALL = 2**20  # bytes: a copy takes less than a millisecond, and uploads up to here have no file


@contextmanager
def recording(file: IO[bytes]) -> Generator[int]:
    """A descriptor of all of the file, with a place of its own in it: of a copy in memory where
    the file is small, or is none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with _copy(file) if size <= _SMALL else _again(file) as descriptor:
        yield descriptor


@contextmanager
def _copy(file: IO[bytes]) -> Generator[int]:
    with _memory("recording") as copy, open(copy, "wb", closefd=False) as sink:
        shutil.copyfileobj(file, sink)
        sink.flush()
        yield copy


@contextmanager
def _again(file: IO[bytes]) -> Generator[int]:
    """The file opened once more, to be read: a descriptor that is passed on shares its place."""
    try:
        file.flush()
        own = file.fileno()
    except io.UnsupportedOperation:
        with _copy(file) as copy:
            yield copy
        return
    again = os.open(f"/proc/self/fd/{own}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield again
    finally:
        os.close(again)


@contextmanager
def room(max_seconds: float) -> Generator[int]:
    """A descriptor of memory for that much sound. It takes what is written, and stays of one size:
    to read it is safe, whoever else has it."""
    with _memory("samples", os.MFD_ALLOW_SEALING) as descriptor:
        os.ftruncate(descriptor, max(1, int(max_seconds * SAMPLE_RATE)) * SAMPLE_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield descriptor


def pcm(descriptor: int, count: int) -> Pcm:
    """The first samples in a room, without a copy. They last as long as the array does."""
    size = count * SAMPLE_BYTES
    return np.frombuffer(mmap.mmap(descriptor, size, mmap.MAP_PRIVATE), np.int16)


def written(descriptor: int) -> int:
    """How many samples a room holds so far: whoever writes them shares the descriptor's place."""
    return os.lseek(descriptor, 0, os.SEEK_CUR) // SAMPLE_BYTES


def whole(descriptor: int) -> Pcm:
    """All of a room, also what is yet to be written."""
    return np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.int16)


@contextmanager
def _memory(name: str, flags: int = 0) -> Generator[int]:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
