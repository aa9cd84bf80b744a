"""Sets of the hub: those known by a short name, and any other as "owner/name:config:split"."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import NoCalibration
from app.languages import code_of

_ANY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]*){1,2}")


@dataclass(frozen=True)
class HubSet:
    """A part of a hub's set, for one purpose.

    words: the column with the words; "" where it is to be found. language: of every row, whatever a
    row says; "" where rows say it. shouted: the words are in capitals alone.
    """

    source: str
    repository: str
    config: str
    split: str
    words: str = ""
    language: str = ""
    shouted: bool = False


@dataclass(frozen=True)
class _Known:
    """A set with a short name. learned: the splits to calibrate on where none is named, by config,
    and the column; judged: the same to measure by."""

    repository: str
    config: str  # "": it has to be named
    learned: tuple[str, str]
    judged: tuple[str, str]
    language: str = ""  # "": the config's
    shouted: bool = False
    learned_of: Mapping[str, str] = field(default_factory=dict)


_KNOWN = {
    "librispeech": _Known(
        "openslr/librispeech_asr", "clean", ("train.100", "text"), ("test", "text"),
        language="en", shouted=True, learned_of={"other": "train.500"},
    ),
    # raw_transcription has the capitals and the punctuation that a model is to write, so it is
    # learned from. Words in its parentheses were read aloud, and normalizing drops parentheses with
    # what is in them: transcription, which the Whisper paper measures by, keeps those words.
    "fleurs": _Known(
        "google/fleurs", "", ("train", "raw_transcription"), ("test", "transcription")
    ),
}  # fmt: skip


def is_hub_set(source: str) -> bool:
    """Whether a source is one of the hub's, "owner/name:config:split" or a known one's short name:
    any other name without an owner is as easily a folder here, or a format's that reads any file
    (json, text)."""
    return source.split(":")[0] in _KNOWN or _ANY.fullmatch(source) is not None


def hub_set(source: str, *, judging: bool = False) -> HubSet:
    """Return what of the hub a source names, to calibrate on or, `judging`, to measure by: where no
    split is named, nobody is measured by what was learned. Raises NoCalibration."""
    name, config, split = [*source.split(":"), "", ""][:3]
    if name not in _KNOWN:
        return HubSet(source, name, config, split or ("test" if judging else "train"))
    known = _KNOWN[name]
    config = config or known.config
    usual, words = known.judged if judging else known.learned
    if not judging:
        usual = known.learned_of.get(config, usual)
    language = known.language or code_of(config)
    if source.count(":") > 2 or not config or not language:
        raise NoCalibration(
            f"{source} names no part of {known.repository} in a language of Whisper's. Parts are "
            "named like librispeech:other or fleurs:en_us, and with a split "
            "fleurs:en_us:validation.",
            "Correct the name.",
        )
    return HubSet(source, known.repository, config, split or usual, words, language, known.shouted)
