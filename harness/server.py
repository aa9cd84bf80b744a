"""A real server in a process of its own, on a free port."""

import atexit
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
    """`marlinscribe serve` with MARLINSCRIBE_<NAME>=value for each keyword; the bundled demo where
    no model is named, the service's own default where `model` is None.

    Used as a context manager it waits until the server is ready and ends it afterwards.
    """

    def __init__(
        self, *, prefix: tuple[str, ...] = (), module: str = "app", **settings: Any
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # The process's own file offset must not move when the log is read: a second descriptor.
        self._log: IO[bytes] = tempfile.NamedTemporaryFile()  # noqa: SIM115  closed in wait()
        self._output = ""
        if "models" not in settings:
            settings = {"model": "demo"} | settings
        variables = {
            f"MARLINSCRIBE_{name.upper()}": str(value)
            for name, value in settings.items()
            if value is not None
        }
        self.started = time.monotonic()
        with open(self._log.name, "ab") as sink:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, "serve"],
                env=os.environ | {"MARLINSCRIBE_PORT": str(self.port)} | variables,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)  # no server outlives whoever started it

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

    def wait_for(self, *stages: str, seconds: float = 900) -> dict[str, Any]:
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
        assert body["status"] == "ready", f"{body}\n{self.read_log()[-4000:]}"
        return time.monotonic() - self.started

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the status it ends with."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def wait(self) -> int:
        """The status it ends with."""
        status = self.process.wait(timeout=60)
        atexit.unregister(self.kill)
        if not self._log.closed:
            self._output = self.read_log()
            self._log.close()
        return status

    def read_log(self) -> str:
        """What the process has printed so far, also after its end."""
        if not self._log.closed:
            self._log.seek(0)
            self._output = self._log.read().decode(errors="replace")
        return self._output

    def transcribe(self, path: Path, **fields: Any) -> httpx.Response:
        with path.open("rb") as file:
            return httpx.post(
                f"{self.url}/v1/audio/transcriptions",
                data=fields,
                files={"file": (path.name, file)},
                timeout=300,
            )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
