"""Clips of ordinary prose by neural voices, with rooms, noise and telephones, and exact times.

    python -m demo.voices.speak SPLIT OUT SPOKEN

makes SPLIT ("calibration" or "judge") in the folder OUT: Opus and a manifest.jsonl. SPOKEN keeps
the bare sentences, so that a run that was cut short goes on where it was.
"""

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np

from demo.voices.conditions import CONDITIONS, RATE, Samples
from demo.voices.joining import Segment, joined
from demo.voices.plan import Planned, clips
from demo.voices.speech import spoken

BIT_RATE = 24_000


def made(clip: Planned, folder: Path) -> tuple[Samples, list[Segment]]:
    choose = Random(clip.seed)
    said = [(one.text, spoken(one, folder)) for one in clip.readings]
    samples, segments = joined(said, choose)
    quiet = np.float32(10 ** (-choose.uniform(0, 12) / 20))  # people speak up, or do not
    return CONDITIONS[clip.condition](samples * quiet, choose), segments


def write(path: Path, samples: Samples, codec: str = "libopus", bit_rate: int = BIT_RATE) -> None:
    # bitexact: no number drawn for the stream, no version of the library
    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono", bit_rate=bit_rate)
        ints = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(ints, format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, "mono", RATE, stream.codec_context.frame_size)
        for one in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(one))
        file.mux(stream.encode(None))


def row(name: str, clip: Planned, segments: list[Segment], seconds: float) -> dict[str, Any]:
    language, voice = clip.readings[0].language, clip.readings[0].voice
    texts = [text for _, _, text in segments]
    return {
        "audio": name,
        "language": language,
        "text": ("" if language in ("ja", "zh") else " ").join(texts),
        "segments": segments,
        "duration": round(seconds, 3),
        "voice": voice,
        "condition": clip.condition,
    }


def main(split: str, out: Path, folder: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips(split)):
        samples, segments = made(clip, folder)
        name = f"{number:03}-{clip.readings[0].language}.ogg"
        write(out / name, samples)
        rows.append(row(name, clip, segments, len(samples) / RATE))
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in rows]
    (out / "manifest.jsonl").write_text("".join(lines), "utf-8")
    print(len(rows), "clips,", round(sum(one["duration"] for one in rows)), "seconds")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
