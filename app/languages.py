"""Whisper's languages: ISO 639 codes and the names OpenAI's answers carry.

Source: openai/whisper `tokenizer.py::LANGUAGES` (the set a multilingual checkpoint knows).
"""

from typing import Literal

from langcodes import Language
from langcodes.tag_parser import LanguageTagError

_TABLE = """
en english, zh chinese, de german, es spanish, ru russian, ko korean, fr french, ja japanese,
pt portuguese, tr turkish, pl polish, ca catalan, nl dutch, ar arabic, sv swedish, it italian,
id indonesian, hi hindi, fi finnish, vi vietnamese, he hebrew, uk ukrainian, el greek, ms malay,
cs czech, ro romanian, da danish, hu hungarian, ta tamil, no norwegian, th thai, ur urdu,
hr croatian, bg bulgarian, lt lithuanian, la latin, mi maori, ml malayalam, cy welsh, sk slovak,
te telugu, fa persian, lv latvian, bn bengali, sr serbian, az azerbaijani, sl slovenian,
kn kannada, et estonian, mk macedonian, br breton, eu basque, is icelandic, hy armenian,
ne nepali, mn mongolian, bs bosnian, kk kazakh, sq albanian, sw swahili, gl galician, mr marathi,
pa punjabi, si sinhala, km khmer, sn shona, yo yoruba, so somali, af afrikaans, oc occitan,
ka georgian, be belarusian, tg tajik, sd sindhi, gu gujarati, am amharic, yi yiddish, lo lao,
uz uzbek, fo faroese, ht haitian creole, ps pashto, tk turkmen, nn nynorsk, mt maltese,
sa sanskrit, lb luxembourgish, my myanmar, bo tibetan, tl tagalog, mg malagasy, as assamese,
tt tatar, haw hawaiian, ln lingala, ha hausa, ba bashkir, jw javanese, su sundanese, yue cantonese
"""

NAMES: dict[str, str] = {
    entry.split(maxsplit=1)[0]: entry.split(maxsplit=1)[1].strip() for entry in _TABLE.split(",")
}

_CODES = {name: code for code, name in NAMES.items()} | {
    "mandarin": "zh",
    "castilian": "es",
    "burmese": "my",
    "flemish": "nl",
    "valencian": "ca",
    "moldavian": "ro",
    "pushto": "ps",
    "panjabi": "pa",
    "sinhalese": "si",
    "letzeburgesch": "lb",
}
# Where Whisper's code is not the standard's, by BCP 47's name for the language.
_WHISPERS = {"jv": "jw", "nb": "no", "fil": "tl"}
_LEFT_OPEN = {"auto", "null", "none", "und"}


def is_left_open(language: str) -> bool:
    """Return whether a client's word for a language means that it has none to name."""
    return language.strip().lower() in _LEFT_OPEN


def code_of(language: str) -> str | None:
    """Return Whisper's code for a language, or None.

    An English name is understood, and any BCP 47 tag: two letters or three (`deu`, `ger`), with a
    script or region (`zh-TW`), withdrawn ones (`iw`), and extended ones (`zh-yue`).
    """
    name = language.strip().lower()
    if name in NAMES:
        return name
    return _CODES.get(name) or _code_of_tag(name.replace("_", "-"))


def script_of(language: str) -> Literal["zh-TW", "zh-HK", "zh-Hant", "zh-Hans"] | None:
    """Return the script that a tag for Chinese asks for: its own (`zh-Hant`), or its region's
    (`zh-TW`); None where it names neither, or another language."""
    try:
        tag = Language.get(language.strip().replace("_", "-"))
    except LanguageTagError:
        return None
    if code_of(language) != "zh":
        return None
    if tag.territory in ("TW", "HK") and tag.script != "Hans":
        return "zh-TW" if tag.territory == "TW" else "zh-HK"
    if tag.script in ("Hant", "Hans"):
        return "zh-Hant" if tag.script == "Hant" else "zh-Hans"
    traditional = tag.territory == "MO"
    simplified = tag.territory in ("CN", "SG", "MY")
    return "zh-Hant" if traditional else "zh-Hans" if simplified else None


def _code_of_tag(tag: str) -> str | None:
    try:
        parsed = Language.get(tag)
    except LanguageTagError:
        return None
    for code in (parsed.language, parsed.prefer_macrolanguage().language):
        if code and (code := _WHISPERS.get(code, code)) in NAMES:
            return code
    return None
