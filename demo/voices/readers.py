"""This program collects the recordings of real people that packages carry with their words.

    python -m demo.voices.readers FOLDER… OUT

One FOLDER holds Debian's pocketsphinx-testdata (/usr/share/pocketsphinx/test/data), another holds
jfk.flac, from the tests of OpenAI's whisper. They are there to judge by: calibrate on none of them.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

from demo.voices.conditions import RATE, Samples
from demo.voices.files import write, write_manifest

_AUSTEN = "librivox/sense_and_sensibility_01_austen_64kb"
# What is said, by file. The words are the packages' own; capitals and commas are the books'.
WORDS = {
    f"{_AUSTEN}-0870.wav": "And Mr. John Dashwood had then leisure to consider how much there "
    "might be prudently in his power to do for them.",
    f"{_AUSTEN}-0880.wav": "He was not an ill-disposed young man,",
    f"{_AUSTEN}-0890.wav": "unless to be rather cold-hearted and rather selfish is to be "
    "ill-disposed.",
    f"{_AUSTEN}-0920.wav": "Had he married a more amiable woman, he might have been made still "
    "more respectable than he was.",
    f"{_AUSTEN}-0930.wav": "He might even have been made amiable himself.",
    "cards/001.wav": "Ten of clubs.",
    "cards/002.wav": "Four, queen of clubs.",
    "cards/003.wav": "Seven of clubs.",
    "cards/004.wav": "Five, five.",
    "cards/005.wav": "Eight of spades, four of clubs, seven of hearts.",
    "goforward.raw": "Go forward ten meters.",
    "jfk.flac": "And so, my fellow Americans, ask not what your country can do for you, ask what "
    "you can do for your country.",
}


def _found(source: str, folders: list[Path]) -> Path:
    """Return where a recording lies, or end the program naming what is missing."""
    for folder in folders:
        if (folder / source).exists():
            return folder / source
    sys.exit(f"{source} lies in none of the folders.")


def _samples(path: Path) -> Samples:
    """Read a file as mono samples at 16 kHz; raw ones are 16-bit at that rate already."""
    if path.suffix == ".raw":
        return np.fromfile(path, "<i2").astype(np.float32) / np.float32(32768)
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1, dtype=np.float32)
    return np.asarray(soxr.resample(mono, rate, RATE), np.float32)


def main(folders: list[Path], out: Path) -> None:
    """Write every recording as Opus, and the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (source, text) in enumerate(WORDS.items()):
        samples, name = _samples(_found(source, folders)), f"{number:02}.ogg"
        write(out / name, samples)
        seconds = round(len(samples) / RATE, 3)
        told = {"audio": name, "language": "en", "text": text, "duration": seconds}
        rows.append(told | {"source": source})
    write_manifest(out, rows)


if __name__ == "__main__":
    *folders, out = map(Path, sys.argv[1:])
    main(folders, out)
