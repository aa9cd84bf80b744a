"""A real server in a process of its own, on a free port."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import httpx

DEMO = Path(__file__).resolve().parent.parent / "demo"


class Server:
    """`marlinscribe serve` with MARLINSCRIBE_<NAME>=value for each keyword.

    Used as a context manager it waits until the server is ready and ends it afterwards.
    """

    def __init__(self, *, prefix: tuple[str, ...] = (), **settings: Any) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the server
        variables = {f"MARLINSCRIBE_{k.upper()}": str(v) for k, v in settings.items()}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "app", "serve"],
            env=os.environ | {"MARLINSCRIBE_PORT": str(self.port)} | variables,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "Server":
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def health(self) -> dict[str, Any]:
        """/health/ready's body; {} while nothing listens."""
        try:
            body: dict[str, Any] = httpx.get(f"{self.url}/health/ready", timeout=10).json()
        except httpx.TransportError:
            return {}
        return body

    def wait_for(self, *stages: str, seconds: float = 300) -> dict[str, Any]:
        """The first health body in one of these stages."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = self.health()
            if body.get("status") in stages:
                return body
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"never {' or '.join(stages)}:\n{self.read_log()[-4000:]}")

    def wait_ready(self) -> float:
        """Seconds from the process's start to ready."""
        body = self.wait_for("ready", "failed")
        assert body["status"] == "ready", body
        return time.monotonic() - self.started

    def stop(self) -> int:
        """SIGTERM, and the status it ends with."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=60)

    def read_log(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def transcribe(self, path: Path, **fields: str) -> httpx.Response:
        with path.open("rb") as file:
            return httpx.post(
                f"{self.url}/v1/audio/transcriptions",
                data=fields,
                files={"file": (path.name, file)},
                timeout=300,
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
