"""What a process that decodes strangers' recordings may take of the machine.

Set by that process itself before it reads the first of them. The kernel holds it to them, whatever
the code of a codec does.
"""

import math
import resource
import time
from pathlib import Path

_MEMORY = 2**29  # bytes of addresses beyond what is loaded: samples are not among them
_FIRST_SECONDS = 10.0  # of processor time, for whatever comes before the first sample
_BYTES_A_SECOND = 10e6  # of the file, that are at least read in a second of processor time
# Of sound, that are at least decoded in one. Common codecs reach some hundred, and WavPack in six
# channels at 192 kHz fifty.
_SOUND_A_SECOND = 5.0


def confine(descriptors: int) -> None:
    """Bound memory to what is loaded now and a fixed amount, and open descriptors to so many in
    all; leave no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _addresses() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


def is_worn() -> bool:
    """Whether half of the memory is in use between two recordings, by what was not given back."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] - _addresses() < _MEMORY // 2


def _addresses() -> int:
    """The process's address space, in bytes."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


class ProcessorTime:
    """One recording's: a floor, its size's worth, and what its sound earns as it comes."""

    def __init__(self, size: int) -> None:
        """`size` is the file's, in bytes."""
        self._end = time.process_time() + _FIRST_SECONDS + size / _BYTES_A_SECOND
        self._allowed = 0
        self.earn(0.0)

    def earn(self, seconds: float) -> None:
        """Move the limit on by what so many seconds of sound are worth."""
        self._end += seconds / _SOUND_A_SECOND
        if (allowed := math.ceil(self._end)) != self._allowed:
            self._allowed = allowed
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))
