"""Whisper's own tokenizers, for weights that come without theirs.

OpenAI has two: one for English alone, which is GPT-2's, and one for all languages. The folder
`vocabularies` has the text tokens of each, in the letters of byte-level BPE, a line each in the
order of their ids (openai/whisper `assets/*.tiktoken`, MIT). What follows them is a rule
(`tokenizer.py::get_encoding`).
"""

import lzma
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from app.errors import BadSource
from app.languages import NAMES

_VOCABULARIES = Path(__file__).parent / "vocabularies"
_ENGLISH = 51_864  # tokens; every other vocabulary may be of several languages
_LANGUAGES = 99  # of the first multilingual vocabulary; large-v3's added Cantonese
_TIMESTAMPS = 1501
_TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")


def is_multilingual(tokens: int) -> bool:
    """Return whether a vocabulary of so many tokens is not OpenAI's for English alone, which names
    languages all the same."""
    return tokens != _ENGLISH


def make_tokenizer(tokens: int) -> Tokenizer:
    """Build OpenAI's tokenizer of a vocabulary of so many tokens. Raises BadSource where OpenAI has
    none of this size."""
    text = _text_tokens(tokens)
    special = _special_tokens(tokens)
    if len(text) + len(special) + _TIMESTAMPS != tokens:
        raise BadSource(
            f"A vocabulary of {tokens} tokens is none of OpenAI's.",
            "Put the tokenizer.json of the model beside its weights.",
        )
    vocabulary = {letters: i for i, letters in enumerate(text)}
    tokenizer = Tokenizer(models.BPE(vocabulary, _merges(vocabulary)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_added(one) for one in special])
    tokenizer.add_tokens([_added(f"<|{n * 0.02:.2f}|>") for n in range(_TIMESTAMPS)])
    return tokenizer


def _added(content: str) -> AddedToken:
    return AddedToken(content, normalized=False)


def _text_tokens(tokens: int) -> list[str]:
    name = "multilingual" if is_multilingual(tokens) else "english"
    packed = (_VOCABULARIES / f"{name}.txt.xz").read_bytes()
    return lzma.decompress(packed).decode().splitlines()


def _special_tokens(tokens: int) -> list[str]:
    """In the order of their ids. English vocabularies name the languages too."""
    more = max(0, tokens - _ENGLISH - 1)
    names = ["endoftext", "startoftranscript", *list(NAMES)[: _LANGUAGES + more], *_TASKS]
    return [f"<|{name}|>" for name in names]


def _merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """The pair that each token was merged from, in order of the tokens.

    A token's id is its merge's rank, so the pair is what BPE leaves of the token's letters when it
    may use earlier merges alone.
    """
    words = (letters for letters in vocabulary if len(letters) > 1)
    return [_pair(letters, vocabulary) for letters in words]


def _pair(letters: str, rank: dict[str, int]) -> tuple[str, str]:
    parts, limit = list(letters), rank[letters]
    while len(parts) > 2:
        ranks = [rank.get(a + b, limit) for a, b in pairwise(parts)]
        if (best := min(ranks)) >= limit:
            break
        at = ranks.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    first, second = parts
    return first, second


# What openai/whisper never samples as text: signs of music, brackets, rules of dashes
# (`tokenizer.py::non_speech_tokens`). A hyphen or apostrophe within a word is another token.
_SIGNS = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', "<<", ">>", "<<<", ">>>", "--", "---", "-(", "-["]
_SIGNS += ["('", '("', "((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
_NOTES = "♩♪♫♬♭♮♯"


def non_speech_tokens(tokenizer: Tokenizer) -> Sequence[int]:
    """Return the text tokens that stand for no speech, in order."""

    def encoded(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    found = {encoded(" -")[0], encoded(" '")[0]}
    for sign in [*_SIGNS, *_NOTES]:
        for ids in (encoded(sign), encoded(" " + sign)):
            if len(ids) == 1 or sign in _NOTES:
                found.add(ids[0])
    return sorted(found)
