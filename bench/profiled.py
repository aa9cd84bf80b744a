"""What bench/operations.py has an engine's worker do, in the engine's process."""

from typing import Any

import torch

_profiles: list[Any] = []


def begin(_: Any) -> None:
    """Have PyTorch time each operation from here on. Takes the worker."""
    _profiles.append(torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]))
    _profiles[-1].__enter__()


def end(_: Any) -> list[tuple[str, float, int]]:
    """Stop, and return each operation's seconds without those that it calls, and its calls. Takes
    the worker."""
    profile = _profiles.pop()
    profile.__exit__(None, None, None)
    return [(one.key, one.self_cpu_time_total / 1e6, one.count) for one in profile.key_averages()]
