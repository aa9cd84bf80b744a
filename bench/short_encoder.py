"""How long does a short clip take, heard by an encoder of its own length and by one of 30 s?

    python -m bench.short_encoder --checkpoint FOLDER

One engine decodes the bundled judge's English clips of 3 to 5 s both ways in turn, in batches of 1,
4 and 16 at once. `by the whole` is the median of the ratios of neighbouring batches, in brackets
its bootstrapped 95 % interval.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from app.audio.decode import decode
from app.checkpoints.checkpoint import Checkpoint
from app.environment import DEMO, DEMO_MODEL
from app.models.base import DecodeRequest, WindowDecoder
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.recordings.read import recordings
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.source import Source
from app.speech.windows import Window
from bench.interval import median_interval
from bench.options import parser

_JUDGE = DEMO / "recordings" / "voices" / "judge"
_AT_ONCE = (1, 4, 16)
_SHORTEST_MS, _LONGEST_MS = 3000, 5000
HEAD = "| at once | whole, s | short, s | by the whole |\n| --- | --- | --- | --- |"


def windows(count: int) -> list[Window]:
    """Return the first of the judge's short clips, each as one window."""
    found: list[Window] = []
    for clip in recordings(_JUDGE, "en"):
        if clip.language != "en" or not isinstance(clip.audio, Path):
            continue
        with clip.audio.open("rb") as file:
            window = Window.of(0, decode(file, max_seconds=30).pcm)
        if _SHORTEST_MS <= window.duration_ms <= _LONGEST_MS:
            found.append(window)
        if len(found) == count:
            break
    return found


async def batch(decoder: WindowDecoder, several: Sequence[Window], *, is_whole: bool) -> float:
    """Decode windows at once; return the seconds."""

    async def one(window: Window) -> None:
        async for _ in decoder.decode_window(DecodeRequest(window, ("en",), is_whole=is_whole)):
            pass

    begun = time.perf_counter()
    await asyncio.gather(*map(one, several))
    return time.perf_counter() - begun


async def measure(folder: Path, rounds: int) -> None:
    settings = Settings(short_encoder="on")
    device = pick_device(settings.device)
    forkserver.start(device, forkserver.environment(device, "warning"))
    checkpoint = Checkpoint(Source(folder.name, folder, ""), folder)
    model = await Loader(settings, device).load(checkpoint, None, windows=max(_AT_ONCE))
    try:
        clips = windows(max(_AT_ONCE))
        print(HEAD)
        for at_once in _AT_ONCE:
            several = [clips[i : i + at_once] for i in range(0, len(clips), at_once)] * rounds
            times = [
                tuple([await batch(model.loaded.decoder, one, is_whole=w) for w in (True, False)])
                for one in several
            ]
            print(_row(at_once, times), flush=True)
    finally:
        await asyncio.to_thread(model.loaded.engine.stop)


def _row(at_once: int, times: Sequence[tuple[float, ...]]) -> str:
    ratio = median_interval([short / whole for whole, short in times])
    whole, short = (statistics.median(column) for column in zip(*times, strict=True))
    told = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"| {at_once} | {whole:.2f} | {short:.2f} | {told} |"


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.short_encoder", __doc__, rounds=3)
    wanted.add_argument(
        "--checkpoint", type=Path, default=DEMO_MODEL, help="its folder (default: the demo's)"
    )
    asked = wanted.parse_args(argv)
    asyncio.run(measure(asked.checkpoint, asked.rounds))


if __name__ == "__main__":
    main()
