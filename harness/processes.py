"""The processes of a server, and what this machine lets be done to them."""

import subprocess

import psutil

from harness.server import Server

# What follows it runs in a network namespace that has a loopback and nothing else.
WITHOUT_NETWORK = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def descendants(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def command(process: psutil.Process) -> str:
    """Its command line, "" where it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def engine_of(server: Server) -> psutil.Process:
    """Raises StopIteration while there is none."""
    return next(p for p in descendants(server) if "EngineCore" in command(p))


def assert_no_orphans(processes: list[psutil.Process]) -> None:
    """Raises AssertionError where one of them outlives its server by 15 s."""
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert not alive, [command(p) for p in alive]


def may_mount() -> bool:
    """Whether this user may mount a tmpfs in a namespace of its own."""
    return _may("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt")


def may_unplug() -> bool:
    """Whether this user may have a namespace without a network."""
    return _may(*WITHOUT_NETWORK, "true")


def _may(*command: str) -> bool:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
