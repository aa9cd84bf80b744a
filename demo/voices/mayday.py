"""The README's recording, spoken by joe: demo/recordings/mayday.mp3, and its words beside it.

python -m demo.voices.mayday SPOKEN
"""

import sys
from pathlib import Path
from random import Random

from demo.voices.joining import joined
from demo.voices.plan import JOE, Reading
from demo.voices.speak import write
from demo.voices.speech import spoken

OUT = Path(__file__).resolve().parent.parent / "recordings"
SENTENCES = [  # spelt as Whisper spells them
    "Mayday, Mayday, Mayday.",
    "This is the fishing boat Silver Wave.",
    "Our engine is on fire and we are drifting toward the rocks.",
    "All six of us are wearing life jackets.",
    "We need help immediately.",
]
SPEED = 0.97


def said_as(text: str) -> str:
    """In two words, for joe swallows the second half of the one."""
    return text.replace("Mayday", "May day").replace("mayday", "may day")


def main(folder: Path) -> None:
    said = [(text, spoken(Reading("en", JOE, SPEED, said_as(text)), folder)) for text in SENTENCES]
    samples, _ = joined(said, Random(2))
    write(OUT / "mayday.mp3", samples, "libmp3lame", 64_000)
    (OUT / "mayday.txt").write_text(" ".join(SENTENCES) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
