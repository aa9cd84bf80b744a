"""What the voice detector's graph takes beside that of Silero's wheel, with the same weights.

    python -m bench.detector

Both hear the beginning of the bundled prose, in one thread, in turn. `apart` is how far their
probabilities are, at most, in the first call.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.audio.decode import decode
from app.speech.vad import CONTEXT, FRAME, MODEL, session
from bench.interval import median_interval
from bench.options import parser
from bench.recordings import LONG
from tools.detector import THEIRS, wheel_file

FRAMES = (1, 32, 110, 512)  # a moment, a second, a short clip, a block of a longer recording


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.detector", __doc__, rounds=50).parse_args(argv)
    ours, theirs = session(MODEL), session(wheel_file(THEIRS))
    table = Table(title=f"{asked.rounds} rounds in turn")
    for column in ("frames", "seconds of sound", "ours, ms", "the wheel's, ms", "ratio", "apart"):
        table.add_column(column, justify="right")
    for count in FRAMES:
        fed = spoken(count)
        apart = np.abs(ours.run(None, fed)[0] - theirs.run(None, fed)[0]).max()
        pairs = [(timed(ours, fed), timed(theirs, fed)) for _ in range(asked.rounds)]
        ratio = median_interval([mine / its for mine, its in pairs])
        best = (f"{1000 * min(times):.2f}" for times in zip(*pairs, strict=True))
        interval = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        table.add_row(str(count), f"{count * FRAME / 16_000:.2f}", *best, interval, f"{apart:.0e}")
    Console(width=100).print(table)


def spoken(count: int) -> dict[str, Any]:
    """Return the first frames of prose, behind their contexts, and a state that knows nothing."""
    with (LONG / "prose.ogg").open("rb") as file:
        samples = decode(file, max_seconds=3600).samples
    padded = np.concatenate((np.zeros(CONTEXT, np.float32), samples))
    frames = [padded[n * FRAME : (n + 1) * FRAME + CONTEXT] for n in range(count)]
    nothing = np.zeros((1, 1, 128), np.float32)
    return {"input": np.stack(frames), "h": nothing, "c": nothing}


def timed(detector: Any, fed: dict[str, Any]) -> float:
    began = perf_counter()
    detector.run(None, fed)
    return perf_counter() - began


if __name__ == "__main__":
    main()
