"""What vLLM and transformers import if it is there and a Whisper's engine never uses: left out of
the forkserver, it costs neither the time of its import nor memory, which an engine takes again for
what it writes to."""

import sys

_SPARED = (
    "cv2",  # vLLM: pictures and films
    "scipy",  # transformers: of other models' losses; vLLM: a resampler, and all comes at 16 kHz
    "sklearn",  # transformers: of assisted generation
)


def spare() -> None:
    """Have the spared packages count as not installed in this process. Before vLLM is imported.

    A child of the forkserver imports the program's main module too: nothing of ours that is
    imported by one may be among them.
    """
    for name in _SPARED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as importlib has it
