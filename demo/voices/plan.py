"""Which clips there are: who says what, how fast, and under which conditions.

Chance comes from the split's and the language's names alone: the plan is the same on every machine,
and a language that is added leaves the others as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

TEXTS = Path(__file__).resolve().parent / "texts"
SPLITS = ("calibration", "judge")

JOE = "joe"  # piper's voice; all others are Kokoro's
VOICES = {
    "en": [
        "af_alloy", "af_aoede", "af_bella", "af_heart", "af_kore", "af_nicole", "af_nova",
        "af_river", "af_sarah", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam",
        "am_michael", "am_onyx", "am_puck", "bf_alice", "bf_emma", "bf_isabella", "bf_lily",
        "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
    ],
    "es": ["ef_dora", "em_alex", "em_santa"],
    "fr": ["ff_siwis"],
    "ja": ["jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo"],
    "zh": [
        "zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian", "zm_yunxi",
        "zm_yunxia", "zm_yunyang",
    ],
}  # fmt: skip
READINGS = {"en": 2}  # times that a paragraph is read; once in the other languages
SINGLES = 3  # sentences of each reading that are also clips of their own
CONDITIONS = ["clean", "clean", "room", "noise", "telephone"]


@dataclass(frozen=True)
class Reading:
    """A sentence as one voice says it."""

    language: str
    voice: str
    speed: float
    text: str


@dataclass(frozen=True)
class Planned:
    """A clip to be made."""

    readings: tuple[Reading, ...]
    condition: str
    seed: str


def languages(split: str) -> list[str]:
    return sorted(path.name.split(".")[1] for path in TEXTS.glob(f"{split}.*.txt"))


def paragraphs(split: str, language: str) -> list[list[str]]:
    """The sentences, a line each; an empty line ends a paragraph."""
    text = (TEXTS / f"{split}.{language}.txt").read_text("utf-8")
    return [block.splitlines() for block in text.strip().split("\n\n")]


def clips(split: str) -> list[Planned]:
    """All clips of a split, the languages mixed."""
    several = [clip for language in languages(split) for clip in _clips(split, language)]
    Random(split).shuffle(several)
    return several


def _clips(split: str, language: str) -> Iterator[Planned]:
    choose = Random(f"{split} {language}")
    for number, sentences in enumerate(paragraphs(split, language)):
        for reading in range(READINGS.get(language, 1)):
            voice = _voice(split, language, number, reading, choose)
            speed = round(choose.uniform(0.85, 1.15), 2)
            said = [Reading(language, voice, speed, text) for text in sentences]
            alone = choose.sample(said, min(SINGLES, len(said)))
            for which, several in enumerate([said, *([one] for one in alone)]):
                condition = choose.choice(CONDITIONS)
                seed = f"{split} {language} {number} {reading} {which}"
                yield Planned(tuple(several), condition, seed)


def _voice(split: str, language: str, number: int, reading: int, choose: Random) -> str:
    """Joe reads most of the English, for he is twenty times as fast. A split has every other voice
    of Kokoro's for itself, where there are several."""
    if language == "en" and (reading == 0 or number % 2):
        return JOE
    own = VOICES[language][SPLITS.index(split) :: 2]
    return choose.choice(own or VOICES[language])
