"""How fast people speak, at the most."""

import unicodedata

# Seconds of what a character stands for, at a pace that nobody keeps up: some seven words of
# English a second, twelve syllables of Chinese or Japanese, eight digits.
_LETTER = 1 / 30
_SYLLABLE = 1 / 12
_DIGIT = 1 / 8
_SYLLABIC = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL")


def least_seconds(text: str) -> float:
    """Return how long it takes to say a text, at the least."""
    return sum(map(_seconds, text))


def _seconds(character: str) -> float:
    if character.isdecimal():
        return _DIGIT
    if not character.isalpha():
        return 0.0
    if character.isascii():
        return _LETTER
    is_syllable = unicodedata.name(character, "").startswith(_SYLLABIC)
    return _SYLLABLE if is_syllable else _LETTER
