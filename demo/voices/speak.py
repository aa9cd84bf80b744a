"""This program makes a split's clips: neural voices read ordinary prose in several conditions.

    python -m demo.voices.speak SPLIT OUT SPOKEN

writes SPLIT ("calibration" or "judge") to the folder OUT: Opus and a manifest.jsonl. The folder
SPOKEN keeps the sentences as they were spoken, so that a run that was cut short need not begin
again.
"""

import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from demo.voices.conditions import CONDITIONS, RATE, Samples
from demo.voices.files import write, write_manifest
from demo.voices.joining import Segment, joined
from demo.voices.plan import Planned, clips
from demo.voices.speech import spoken


def made(clip: Planned, folder: Path) -> tuple[Samples, list[Segment]]:
    """Return the samples of a clip, and its sentences with their times."""
    choose = Random(clip.seed)
    said = [(one.text, spoken(one, folder)) for one in clip.readings]
    samples, segments = joined(said, choose)
    quiet = np.float32(10 ** (-choose.uniform(0, 12) / 20))  # people speak up, or do not
    return CONDITIONS[clip.condition](samples * quiet, choose), segments


def row(name: str, clip: Planned, segments: list[Segment], seconds: float) -> dict[str, Any]:
    """Return what the manifest says of a clip."""
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
    """Make all clips of a split, and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips(split)):
        samples, segments = made(clip, folder)
        name = f"{number:03}-{clip.readings[0].language}.ogg"
        write(out / name, samples)
        rows.append(row(name, clip, segments, len(samples) / RATE))
    write_manifest(out, rows)
    print(len(rows), "clips,", round(sum(one["duration"] for one in rows)), "seconds")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
