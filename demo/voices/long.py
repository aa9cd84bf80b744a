"""This program makes the long recordings: piper's joe reads prose, lists and digits.

    python -m demo.voices.long OUT SPOKEN

writes to the folder OUT, a recording for each of READINGS, as Opus, with a manifest.jsonl that has
the exact time of each sentence. SPOKEN is the folder of demo.voices.speak.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from demo.voices.conditions import RATE
from demo.voices.files import write, write_manifest
from demo.voices.joining import PAUSES, joined
from demo.voices.plan import JOE, SPLITS, Reading, paragraphs
from demo.voices.speech import spoken

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SHOPPING = (
    "Apples, pears, bread, butter, cheese.",
    "Milk, eggs, rice, flour, sugar.",
    "Salt, pepper, onions, carrots, tomatoes.",
    "Garlic, lemons, oranges, tea, coffee.",
)


def prose() -> list[str]:
    """Return eleven minutes of ordinary sentences."""
    return [
        sentence
        for split in SPLITS
        for paragraph in paragraphs(split, "en")
        for sentence in paragraph
    ]


def digits() -> list[str]:
    """Return ten telephone numbers."""
    choose = Random("digits")
    return [", ".join(choose.choices(_DIGITS, k=10)).capitalize() + "." for _ in range(10)]


READINGS = {
    "prose": (prose(), PAUSES),
    "digits": (digits(), (0.5, 0.5)),
    "counting": (["One, two, three, four, five, six, seven, eight, nine, ten."] * 8, (0.3, 0.3)),
    "shopping": (list(_SHOPPING) * 2, (0.3, 0.3)),
}


def rows(out: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Write each reading, and yield what the manifest says of it."""
    for name, (sentences, pauses) in READINGS.items():
        said = [(text, spoken(Reading("en", JOE, 1.0, text), folder)) for text in sentences]
        samples, segments = joined(said, Random(name), pauses=pauses, longest=math.inf)
        write(out / f"{name}.ogg", samples)
        yield {
            "audio": f"{name}.ogg",
            "language": "en",
            "text": " ".join(sentences),
            "segments": segments,
            "duration": round(len(samples) / RATE, 3),
            "voice": JOE,
            "condition": "clean",
        }


def main(out: Path, folder: Path) -> None:
    """Make all readings and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(out, list(rows(out, folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
