"""Writing systems of languages: which have no spaces, and the two scripts of Chinese."""

from functools import cache

# By ISO code: those that the Whisper paper judges by characters, and Cantonese.
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
CHINESE = frozenset({"zh", "yue"})


def simplified(text: str) -> str:
    """Fold Traditional and Simplified characters into one script."""
    folded: str = _converter().convert(text)
    return folded


@cache
def _converter():  # type: ignore[no-untyped-def]  # OpenCC has no types
    from opencc import OpenCC

    return OpenCC("t2s")
