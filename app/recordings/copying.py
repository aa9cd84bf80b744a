"""The copying of a hub's set to a folder, to measure by: for those who have not the hub's library.

    python -m app.recordings.copying SOURCE LANGUAGE SAMPLES FOLDER    with the quantizer's packages

SAMPLES: how many to take, 0 for all. Status 1, with the reason on standard error, where the set
cannot be read.
"""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import NoCalibration
from app.recordings import hub
from app.recordings.clip import WINDOW_SECONDS, Clip
from app.recordings.known_sets import hub_set

ALL = "manifest.jsonl"
SHORT = "up-to-30-s.jsonl"  # what a proof takes
_SUFFIXES = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg"}


def copy(source: str, language: str, samples: int, folder: Path) -> int:
    """Write a hub's set as a folder with manifests; return how many recordings. Raises
    NoCalibration, OSError."""
    (folder / "audio").mkdir(parents=True)
    stream = hub.clips(hub_set(source, judging=True), language, longest=None)
    rows = list(_rows(islice(stream, samples or None), folder))
    if not rows:
        raise NoCalibration(f"{source} holds no recordings.", "Name another part of it.")
    for name, taken in ((ALL, rows), (SHORT, [one for one in rows if not one[1]])):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row, _ in taken]
        (folder / name).write_text("".join(lines), "utf-8")
    return len(rows)


def _rows(clips: Iterator[Clip], folder: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """Write each recording; yield its row and whether it is over 30 s."""
    for number, clip in enumerate(clips, 1):
        content = clip.content()
        name = f"audio/{number:06}{_SUFFIXES.get(content[:4], '.mp3')}"
        (folder / name).write_bytes(content)
        row = {"audio": name, "text": clip.text, "language": clip.language}
        yield row, hub.is_longer(content, WINDOW_SECONDS)


def main(source: str, language: str, samples: str, folder: str) -> int:
    """Copy, and report on standard error; return the exit status."""
    try:
        copy(source, language, int(samples), Path(folder))
    except (NoCalibration, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # the last line is the reason
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
