"""A package as if it were not installed."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def left_out(package: str) -> Iterator[str]:
    """Give a folder for PYTHONPATH: in a process that has it a package cannot be imported."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{package}.py").write_text("raise ImportError('left out')\n")
        yield folder
