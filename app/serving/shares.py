"""How several models share a device's memory: shown before any of them is started."""

from collections.abc import Mapping

from app.checkpoints.checkpoint import Checkpoint
from app.errors import EngineFailed
from app.models import family_of
from app.models.base import Device, Footprint
from app.models.whisper_vllm.budget import KEPT_ON_CPU
from app.models.whisper_vllm.plan import memory_of

_MIB = 1024**2


def memory_shares(checkpoints: Mapping[str, Checkpoint], device: Device) -> dict[str, int]:
    """Each model's share of what is free on the device now, in bytes. Blocking. Raises
    EngineFailed."""
    footprints = {
        name: family_of(one.source.config).footprint(one.folder, device)
        for name, one in checkpoints.items()
    }
    kept = 0 if device == "cuda" else KEPT_ON_CPU
    return share_out(memory_of(device).free, kept, footprints)


def share_out(free: int, kept: float, footprints: Mapping[str, Footprint]) -> dict[str, int]:
    """Bytes that each model may count as free: its own weights, and an equal part of what all of
    them leave. `kept` is the share of its memory that an engine leaves to other work.

    Raises EngineFailed, with the arithmetic, where they do not fit together.
    """
    usable = int(free * (1 - kept))
    fixed = {name: one.weights + one.overhead for name, one in footprints.items()}
    least = {name: fixed[name] + one.window for name, one in footprints.items()}
    if sum(least.values()) > usable:
        parts = " + ".join(f"{bytes_ / _MIB:.0f} ({name})" for name, bytes_ in least.items())
        raise EngineFailed(
            f"The models do not fit together: {parts} = {sum(least.values()) / _MIB:.0f} MiB for "
            f"weights and one window each, and {usable / _MIB:.0f} MiB may be used.",
            "Serve fewer or smaller models (MARLINSCRIBE_MODELS), or free memory.",
        )
    rest = (usable - sum(fixed.values())) // len(footprints)
    return {name: int((bytes_ + rest) / (1 - kept)) for name, bytes_ in fixed.items()}
