"""This program makes recordings with the time of each word: joe and Kokoro's voices read prose.

    python -m demo.voices.words OUT SPOKEN

writes to the folder OUT, as Opus, with a manifest.jsonl that has the time of each sentence and of
each word (of Mandarin: of each character), as demo/voices/timing.py finds it. A sentence whose
words are not found is left out. SPOKEN is the folder of demo.voices.speak.
"""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from demo.voices.conditions import CONDITIONS, RATE, Samples
from demo.voices.files import write, write_manifest
from demo.voices.joining import Segment, joined
from demo.voices.plan import JOE, VOICES, Reading, paragraphs
from demo.voices.speech import sounds_of, timed
from demo.voices.timing import Word, heard, word_times

_OTHERS = ("af_heart", "am_michael", "bf_emma", "bm_george")
_A_VOICE = 2  # paragraphs that each of these reads
_NOISY = 16  # sentences of a recording that is not clean
_MANDARIN = 9  # paragraphs
_HAN = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Planned:
    """A planned recording has readings one behind the other, a condition, and a seed of its pauses:
    two of one seed have the same times as far as they have the same readings."""

    name: str
    readings: tuple[Reading, ...]
    seed: str
    condition: str = "clean"


@dataclass(frozen=True)
class _Said:
    """A sentence that was said, and its words, timed from its beginning."""

    reading: Reading
    samples: Samples
    words: list[Word]


def planned() -> Iterator[Planned]:
    """Yield all recordings."""
    level = tuple(_read("judge", 1.0))
    yield Planned("level", level, "level")
    yield Planned("slow", tuple(_read("calibration", 0.85)), "slow")
    yield Planned("fast", tuple(_read("words", 1.2)), "fast")
    for condition in sorted(CONDITIONS.keys() - {"clean"}):
        yield Planned(condition, level[:_NOISY], "level", condition)
    yield Planned("others", tuple(_in_turn("en", "words", _OTHERS, _A_VOICE * len(_OTHERS))), "o")
    yield Planned("mandarin", tuple(_in_turn("zh", "judge", VOICES["zh"][1::2], _MANDARIN)), "m")


def _read(split: str, speed: float) -> Iterator[Reading]:
    for paragraph in paragraphs(split, "en"):
        for text in paragraph:
            yield Reading("en", JOE, speed, text)


def _in_turn(language: str, split: str, voices: Sequence[str], many: int) -> Iterator[Reading]:
    """Yield what voices read, a paragraph each and then again. Latin letters within Chinese are no
    characters that have a time: such a sentence is passed over."""
    for number, paragraph in enumerate(paragraphs(split, language)[:many]):
        for text in paragraph:
            if language != "zh" or not re.search("[A-Za-z]", text):
                yield Reading(language, voices[number % len(voices)], 1.0, text)


def units(text: str, language: str) -> list[str]:
    """Return what of a text has a time: words, or Chinese characters."""
    return _HAN.findall(text) if language == "zh" else text.split()


def _said(one: Reading, folder: Path) -> _Said | None:
    """Return a sentence with its words, or None where they are not found."""
    samples, sounds = timed(one, folder)
    several = units(one.text, one.language)
    words = word_times(
        several, heard(sounds, samples), lambda word: sounds_of(replace(one, text=word))
    )
    return _Said(one, samples, words) if words else None


def row(one: Planned, said: Sequence[_Said], segments: Sequence[Segment]) -> dict[str, Any]:
    """Return what the manifest says of a recording, but how long it is."""
    first = one.readings[0]
    texts = [sentence for _, _, sentence in segments]
    return {
        "audio": f"{one.name}.ogg",
        "language": first.language,
        "text": ("" if first.language == "zh" else " ").join(texts),
        "segments": segments,
        "words": [
            (round(start + begin, 3), round(start + end, 3), text)
            for sentence, (start, _, _) in zip(said, segments, strict=True)
            for begin, end, text in sentence.words
        ],
        "voice": ", ".join(dict.fromkeys(sentence.reading.voice for sentence in said)),
        "speed": first.speed,
        "condition": one.condition,
    }


def made(one: Planned, folder: Path) -> tuple[Samples, dict[str, Any]]:
    """Return the samples of a recording, and what the manifest says of it."""
    several = [_said(reading, folder) for reading in one.readings]
    said = [sentence for sentence in several if sentence]
    texts = [(sentence.reading.text, sentence.samples) for sentence in said]
    samples, segments = joined(texts, Random(one.seed), longest=math.inf)
    told = row(one, said, segments) | {"duration": round(len(samples) / RATE, 3)}
    left_out = len(several) - len(said)
    print(
        f"{one.name}: {len(told['words'])} words; {left_out} of {len(several)} sentences left out"
    )
    return CONDITIONS[one.condition](samples, Random(one.name)), told


def main(out: Path, folder: Path) -> None:
    """Make all recordings and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in planned():
        samples, told = made(one, folder)
        write(out / f"{one.name}.ogg", samples)
        rows.append(told)
    write_manifest(out, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
