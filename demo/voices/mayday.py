"""This program makes demo/recordings/mayday.mp3, spoken by piper's joe, and its words, mayday.txt.

    python -m demo.voices.mayday SPOKEN

SPOKEN is the folder of demo.voices.speak.
"""

import sys
from pathlib import Path
from random import Random

from demo.voices.conditions import Samples
from demo.voices.files import write
from demo.voices.joining import joined
from demo.voices.plan import JOE, Reading
from demo.voices.speech import spoken

OUT = Path(__file__).resolve().parent.parent / "recordings"
SENTENCES = [  # spelt as Whisper spells them
    "Mayday, Mayday, Mayday.",
    "This is the fishing boat Silver Wave.",
    "Our engine is on fire and we are drifting toward the rocks.",
    "All six of us are wearing life jackets.",
    "We need help immediately.",
]
# The spelling seeds joe's chance, and whisper-base hears this take best.
SAID_AS = {"Mayday, Mayday, Mayday.": "Mayday, mayday, mayday."}
SPEED = 0.97


def said(text: str, folder: Path) -> Samples:
    """Return a sentence as joe says it."""
    return spoken(Reading("en", JOE, SPEED, SAID_AS.get(text, text)), folder)


def main(folder: Path) -> None:
    """Write the recording and its words."""
    samples, _ = joined([(text, said(text, folder)) for text in SENTENCES], Random(2))
    write(OUT / "mayday.mp3", samples, "libmp3lame", 64_000)
    (OUT / "mayday.txt").write_text(" ".join(SENTENCES) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
