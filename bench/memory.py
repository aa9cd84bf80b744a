"""How much memory processes held at most."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

_EVERY = 0.2  # seconds between two looks
_EVERY_PROPORTIONAL = 0.5  # the kernel walks through every page for it


@dataclass
class Peak:
    """Bytes, summed over processes, so that pages they share count once for each.

    resident: RSS. held: RSS without file pages and shared memory. The kernel can drop the pages
    of a file that is read through a map, a checkpoint's among them; what is held it cannot.
    """

    resident: int = 0
    held: int = 0

    def __str__(self) -> str:
        return f"{self.resident / 1e9:.2f} GB, {self.held / 1e9:.2f} GB without file pages"

    def look(self, processes: list[psutil.Process]) -> None:
        resident = held = 0
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_info()
                resident += memory.rss
                held += memory.rss - memory.shared
        self.resident, self.held = max(self.resident, resident), max(self.held, held)


@dataclass
class ProportionalPeak:
    """Bytes, summed over processes, so that pages they share count once for all (PSS)."""

    size: int = 0

    def look(self, processes: list[psutil.Process]) -> None:
        self.size = max(self.size, proportional_size(processes))


def proportional_size(processes: list[psutil.Process]) -> int:
    size = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            size += process.memory_full_info().pss
    return size


def family(pid: int, *, itself: bool = True) -> list[psutil.Process]:
    """A process and its descendants, or these alone."""
    root = psutil.Process(pid)
    return [root] * itself + root.children(recursive=True)


@contextmanager
def peak_memory(pid: int, *, itself: bool = True) -> Iterator[Peak]:
    """The peak of a process and its descendants, or of these alone, while the block runs."""
    peak = Peak()
    with _watched(lambda: peak.look(family(pid, itself=itself)), _EVERY):
        yield peak


@contextmanager
def proportional_peak(pid: int) -> Iterator[ProportionalPeak]:
    """The peak of a process and its descendants while the block runs."""
    peak = ProportionalPeak()
    with _watched(lambda: peak.look(family(pid)), _EVERY_PROPORTIONAL):
        yield peak


@contextmanager
def _watched(look: Callable[[], None], every: float) -> Iterator[None]:
    """Look again and again, in a thread, while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            with suppress(psutil.NoSuchProcess):
                look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
