"""How much memory processes held at most."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

_EVERY = 0.2  # seconds between two looks


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


@contextmanager
def peak_memory(pid: int, *, itself: bool = True) -> Iterator[Peak]:
    """The peak of a process and its descendants, or of these alone, while the block runs."""
    peak, ended, root = Peak(), threading.Event(), psutil.Process(pid)

    def watch() -> None:
        while not ended.wait(_EVERY):
            with suppress(psutil.NoSuchProcess):
                peak.look([root] * itself + root.children(recursive=True))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
