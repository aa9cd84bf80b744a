"""What is done to a server to see what becomes of it."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.server import DEMO, Server

MODEL, REVISION = "acme/marine-radio", "0123456789abcdef0123456789abcdef01234567"


def hub_cache(folder: Path) -> None:
    """The demo checkpoint, as the hub's library keeps what it has downloaded."""
    model = folder / f"models--{MODEL.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION)
    shutil.copytree(DEMO / "marine-radio", model / "snapshots" / REVISION)


def no_network(folder: Path) -> tuple[str, ...]:
    """A hub where nothing listens."""
    return ("env", f"HF_HUB_CACHE={folder / 'hub'}", "HF_ENDPOINT=http://127.0.0.1:9")


def full(server: Server, disk: Path, mounted: bool) -> Callable[[], object]:
    """Leave the server no room to write; what gives it back."""
    pid = server.process.pid
    if not mounted:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    ballast = Path(f"/proc/{pid}/root{disk}/ballast")
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(2**16)):
                pass
        except OSError:  # no space left
            os.fsync(file.fileno())
    return ballast.unlink
