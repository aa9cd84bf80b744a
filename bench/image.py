"""The image, built as the Dockerfile says, and the service in it asked with curl.

    python -m bench.image cpu|gpu [arguments for `buildah build`, as a mirror wants them]

Neither a container engine nor an image registry is needed: buildah does it all, as root, on a
Debian that debootstrap makes first. The service is started as compose starts it: as the image's
user, without capabilities, on a root that it may only read, with its volumes. The GPU variant is
built and no more, as its service takes a card.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.options import parser
from harness.server import DEMO, free_port

BASE = "localhost/debian-python:bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
VOLUMES = {"cache": "/var/cache/marlinscribe", "uploads": "/var/tmp", "tmp": "/tmp"}
USER = 10001
KEY = "a-key"
ENDED = "marlinscribe ended with status"
HEALTHY_WITHIN = 900  # seconds; a first start quantizes
# Makes a folder read-only in a mount namespace of its own, and goes on there.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.image", __doc__)
    wanted.add_argument("variant", choices=("cpu", "gpu"))
    asked, arguments = wanted.parse_known_args(argv)
    variant = asked.variant
    missing = [name for name in ("buildah", "debootstrap", "curl") if not shutil.which(name)]
    if missing or os.geteuid():
        sys.exit(" ".join(["bench.image wants root", *missing]))
    os.environ |= {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        make_base()
    image, begun = f"localhost/marlinscribe:{variant}", time.monotonic()
    known = ("--build-arg", f"BASE={BASE}", "--build-arg", f"VARIANT={variant}")
    # Docker's format: the other has no health check.
    buildah("build", "--quiet", "--format=docker", "--tag", image, *known, *arguments, ".")
    print(f"{image} was built in {time.monotonic() - begun:.0f} s", flush=True)
    if variant == "gpu":
        print("and is not started: that takes a card")
        return
    with tempfile.TemporaryDirectory() as folder, container(image) as name:
        prove(Container(name, image, Path(folder)))


def prove(container: "Container") -> None:
    """Says what it finds. Raises AssertionError at what should not be so."""
    with container.running() as service:
        print(f"healthy, by the image's own check, {container.age:.0f} s after its start")
        assert "quantizing" in container.log(), "its first checkpoint was not made"
        status = Path(f"/proc/{service.pid}/status").read_text()
        rights = dict(line.split(":\t", 1) for line in status.splitlines())
        assert rights["Uid"].split() == [str(USER)] * 4, rights["Uid"]
        # Of the set that could ever be gained (CapBnd) buildah keeps one back for itself.
        held = [rights[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
        assert not any(int(one, 16) for one in held), rights
        mounts = Path(f"/proc/{service.pid}/mounts").read_text().splitlines()
        (root,) = (mount.split() for mount in mounts if mount.split()[1] == "/")
        assert "ro" in root[3].split(","), root
        print(f"runs as uid {USER}, without capabilities, on a root that is mounted read-only")
        assert container.curl("wrong").startswith('{"error":'), container.curl("wrong")
        text = container.curl(KEY)
        words = (DEMO / "recordings" / "radio.txt").read_text("utf-8").strip()
        print(f"curl was answered: {text}")
        assert json.loads(text)["text"] == words, words
        service.send_signal(signal.SIGTERM)
        service.wait(timeout=60)
        assert container.wait_for(f"{ENDED} 0"), container.log()[-4000:]
        print("SIGTERM ended it with status 0")


class Container:
    """One start of the service."""

    def __init__(self, name: str, image: str, folder: Path) -> None:
        self._name = name
        config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
        self._check: list[str] = config["Healthcheck"]["Test"][1:]
        self._start = shlex.join([*config["Entrypoint"], *config["Cmd"]])
        self._port = free_port()
        self._volumes = {folder / volume: path for volume, path in VOLUMES.items()}
        for volume in self._volumes:
            volume.mkdir()
            os.chown(volume, USER, USER)
        folder.chmod(0o711)  # its user must get through
        self._log = folder / "log"
        self._begun = 0.0

    @property
    def age(self) -> float:
        return time.monotonic() - self._begun

    def log(self) -> str:
        return self._log.read_text("utf-8")

    @contextlib.contextmanager
    def running(self) -> Generator[psutil.Process]:
        """The process that answers, once it is healthy."""
        root = buildah("mount", self._name)
        Path(root, "run/.containerenv").touch()  # buildah mounts on it, and then cannot make it
        # Its status from a shell: buildah itself fails when it tidies up in a read-only root.
        command = self._command("sh", "-c", f"{self._start}; echo {ENDED} $?")
        self._begun = time.monotonic()
        with open(self._log, "wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", READ_ONLY, root, *command],
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_healthy(process)
            yield self._service()
        finally:
            for process in psutil.Process().children(recursive=True):
                process.kill()

    def curl(self, key: str) -> str:
        url = f"http://127.0.0.1:{self._port}/v1/audio/transcriptions"
        form = f"file=@{DEMO / 'recordings' / 'radio.mp3'}"
        return told("curl", "--silent", "--header", f"authorization: Bearer {key}", "-F", form, url)

    def wait_for(self, line: str) -> bool:
        """Whether the log comes to it soon."""
        for _ in range(50):
            if line in self.log().splitlines():
                return True
            time.sleep(0.1)
        return False

    def _wait_healthy(self, process: "subprocess.Popen[bytes]") -> None:
        while self._run(*self._check).returncode:
            if process.poll() is not None or self.age > HEALTHY_WITHIN:
                raise AssertionError(f"never healthy:\n{self.log()[-4000:]}")
            time.sleep(5)

    def _service(self) -> psutil.Process:
        for process in psutil.Process().children(recursive=True):
            if process.name() == "marlinscribe":
                return process
        raise AssertionError("no process of the service's")

    def _run(self, *command: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(self._command(*command), capture_output=True, check=False)

    def _command(self, *command: str) -> list[str]:
        settings = {"PORT": str(self._port), "API_KEYS": KEY, "MODEL": "demo"}
        options = [f"--env=MARLINSCRIBE_{name}={value}" for name, value in settings.items()]
        options += [f"--volume={here}:{there}" for here, there in self._volumes.items()]
        options += ["--env=TMPDIR=/var/tmp", "--cap-drop=ALL"]
        return ["buildah", "run", *options, self._name, "--", *command]


@contextlib.contextmanager
def container(image: str) -> Generator[str]:
    name = buildah("from", "--pull-never", image)
    try:
        yield name
    finally:
        buildah("rm", name)


def make_base() -> None:
    with tempfile.TemporaryDirectory() as folder:
        told("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder)
        fresh = buildah("from", "scratch")
        buildah("add", "--quiet", fresh, folder, "/")
        buildah("commit", "--quiet", "--rm", fresh, BASE)


def buildah(*arguments: str) -> str:
    return told("buildah", *arguments)


def told(*command: str) -> str:
    """What it says on stdout. Raises CalledProcessError where it fails; why is on stderr."""
    run: Any = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return str(run.stdout).strip()


if __name__ == "__main__":
    main()
