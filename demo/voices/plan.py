"""This module plans the clips: which voice reads which sentences, how fast, in which condition.

Every choice is seeded by the names of the split and the language: the plan is the same on every
machine, and another language changes nothing in those there are. Other words in a paragraph change
none of the choices either, but a sentence more or less changes those behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random

TEXTS = Path(__file__).resolve().parent / "texts"
SPLITS = ("calibration", "judge")
FURTHER = "languages"  # clips of languages that are in no split

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
    "hi": ["hf_alpha", "hm_omega", "hf_beta", "hm_psi"],
    "it": ["if_sara", "im_nicola"],
    "ja": ["jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo"],
    "pt": ["pf_dora", "pm_alex", "pm_santa"],
    "zh": [  # zf_xiaoyi twice, for zf_xiaoni: whisper-base understands hardly a word of hers
        "zf_xiaobei", "zf_xiaoyi", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian", "zm_yunxi",
        "zm_yunxia", "zm_yunyang",
    ],
}  # fmt: skip
READINGS = {"en": 2}  # times that a paragraph is read; once in the other languages
SINGLES = 3  # sentences of each reading that are also clips of their own
CONDITIONS = ["clean", "clean", "room", "noise", "telephone"]


@dataclass(frozen=True)
class Reading:
    """A reading is a sentence as one voice says it. `speed` is 1 at the voice's own pace."""

    language: str
    voice: str
    speed: float
    text: str


@dataclass(frozen=True)
class Planned:
    """A planned clip has readings by one voice, a condition, and a seed of its pauses and noise."""

    readings: tuple[Reading, ...]
    condition: str
    seed: str


def languages(split: str) -> list[str]:
    """Return the codes of the languages that have a text for the split."""
    return sorted(path.name.split(".")[1] for path in TEXTS.glob(f"{split}.*.txt"))


def paragraphs(split: str, language: str) -> list[list[str]]:
    """Return the paragraphs of a text, in sentences: a line each, an empty one in between."""
    text = (TEXTS / f"{split}.{language}.txt").read_text("utf-8")
    return [block.splitlines() for block in text.strip().split("\n\n")]


def clips(split: str) -> list[Planned]:
    """Return all clips of a split in their order, the languages mixed."""
    several = [clip for language in languages(split) for clip in _clips(split, language)]
    Random(split).shuffle(several)
    return several


def further() -> Iterator[Planned]:
    """Yield the clips of further languages: a sentence each, clean, the voices taking turns."""
    for language in languages(FURTHER):
        said = [text for paragraph in paragraphs(FURTHER, language) for text in paragraph]
        for number, (text, voice) in enumerate(zip(said, cycle(VOICES[language]), strict=False)):
            seed = f"{FURTHER} {language} {number}"
            yield Planned((Reading(language, voice, 1.0, text),), "clean", seed)


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
    """Choose the voice of a reading.

    Joe reads three of four paragraphs of English, as he takes a twentieth of Kokoro's time. Of
    Kokoro's voices every other one speaks for this split alone, where a language has several.
    """
    if language == "en" and (reading == 0 or number % 2):
        return JOE
    own = VOICES[language][SPLITS.index(split) :: 2]
    return choose.choice(own or VOICES[language])
