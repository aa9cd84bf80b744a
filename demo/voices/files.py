"""This module writes recordings, Opus or MP3, and the manifest beside them."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np

from demo.voices.conditions import RATE, Samples

_BIT_RATE = 24_000


def write(path: Path, samples: Samples, codec: str = "libopus", bit_rate: int = _BIT_RATE) -> None:
    """Write samples at 16 kHz to a file, the same bytes each time."""
    # bitexact leaves out the random number of an Ogg stream, and the version of the library.
    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono", bit_rate=bit_rate)
        ints = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(ints, format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, "mono", RATE, stream.codec_context.frame_size)
        for one in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(one))
        file.mux(stream.encode(None))


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write a folder's manifest.jsonl, a line for each clip."""
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in rows]
    (folder / "manifest.jsonl").write_text("".join(lines), "utf-8")
