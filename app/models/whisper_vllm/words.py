"""The words that Whisper's tokens make."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import name

# openai/whisper `timing.py`: marks that belong to the word behind them, and to the one before them.
_OPENING = set("\"'“¿([{-")
_CLOSING = set("\"'.。,，!！?？:：”)]}、")
_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")  # ibid. `tokenizer.py`
# Scripts that have no spaces between words: each character that the model writes is one, ibid.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH", "THAI", "LAO", "MYANMAR")


@dataclass(frozen=True)
class TokenWord:
    """A word: tokens `first` up to `stop` of those it was made of."""

    text: str
    first: int
    stop: int

    def followed_by(self, other: "TokenWord") -> "TokenWord":
        return TokenWord(self.text + other.text, self.first, other.stop)


def words_of(tokens: Sequence[int], content: Callable[[int], bytes]) -> list[TokenWord]:
    """Return the words that text tokens make, which together are all of their text. `content` gives
    a token's bytes."""
    words = list[TokenWord]()
    for piece in _characters(tokens, content):
        if words and not _begins_word(words[-1].text, piece.text):
            words[-1] = words[-1].followed_by(piece)
        else:
            words.append(piece)
    return _with_marks(words)


def _characters(tokens: Sequence[int], content: Callable[[int], bytes]) -> Iterator[TokenWord]:
    """Yield the tokens' text in the smallest pieces that are whole characters."""
    first, held = 0, b""
    for at, token in enumerate(tokens, 1):
        held += content(token)
        try:
            yield TokenWord(held.decode(), first, at)
        except UnicodeDecodeError as error:
            if at < len(tokens) and error.reason == "unexpected end of data":
                continue
            yield TokenWord(held.decode(errors="replace"), first, at)
        first, held = at, b""


def _begins_word(before: str, text: str) -> bool:
    """Whether a piece begins a word of its own behind the text before it."""
    is_mark = text.strip() in _PUNCTUATION
    return text.startswith(" ") or is_mark or _is_unspaced(before[-1:]) or _is_unspaced(text[:1])


def _is_unspaced(character: str) -> bool:
    return name(character, "").startswith(_UNSPACED) if character else False


def _with_marks(words: Sequence[TokenWord]) -> list[TokenWord]:
    """Return the words with their punctuation, which has no sound (openai/whisper
    `timing.py::merge_punctuations`)."""
    opened = list[TokenWord]()
    for word in reversed(words):
        if opened and word.text.startswith(" ") and word.text.strip() in _OPENING:
            opened[-1] = word.followed_by(opened[-1])
        else:
            opened.append(word)
    closed = list[TokenWord]()
    for word in reversed(opened):
        if closed and not closed[-1].text.endswith(" ") and word.text in _CLOSING:
            closed[-1] = closed[-1].followed_by(word)
        else:
            closed.append(word)
    return closed
