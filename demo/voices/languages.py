"""This program makes clips of further languages: Kokoro's voices read a sentence each.

    python -m demo.voices.languages OUT SPOKEN

writes them to the folder OUT, as Opus, with a manifest.jsonl. SPOKEN is the folder of
demo.voices.speak.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from demo.voices.conditions import RATE
from demo.voices.files import write, write_manifest
from demo.voices.plan import further
from demo.voices.speak import made, row


def rows(out: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Write each clip, and yield what the manifest says of it."""
    for number, clip in enumerate(further()):
        samples, segments = made(clip, folder)
        name = f"{number:02}-{clip.readings[0].language}.ogg"
        write(out / name, samples)
        yield row(name, clip, segments, len(samples) / RATE)


def main(out: Path, folder: Path) -> None:
    """Make all clips and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(out, list(rows(out, folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
