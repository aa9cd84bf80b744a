"""Token ids to text and back, by the checkpoint's own tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from app.models.whisper_vllm.tokens import SpecialTokens, special_tokens


class TextCodec:
    """Converts between text and a checkpoint's text tokens; special tokens and timestamps carry no
    text."""

    def __init__(self, folder: Path, tokens: SpecialTokens) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._end = tokens.end_of_text

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            [i for i in ids if i < self._end], skip_special_tokens=False
        )
        return text

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, special tokens that are spelt out in it included."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def content(self, token: int) -> bytes:
        """Return the bytes that one text token stands for, which may be part of a character."""
        return bytes(_BYTES[letter] for letter in self._tokenizer.id_to_token(token) or "")


def _bytes_of_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for: printable Latin-1 for
    itself, the others in order from U+0100 on (openai/gpt-2 `encoder.py::bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


_BYTES = _bytes_of_letters()


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the checkpoint's tokenizer. Raises BadSource where there is none."""
    whole = folder / "tokenizer.json"
    if whole.exists():
        return Tokenizer.from_file(str(whole))
    special = special_tokens(folder)  # raises where there is nothing to build from
    tokenizer = Tokenizer(
        models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    in_order = sorted(special, key=lambda content: special[content])
    tokenizer.add_tokens([AddedToken(content, normalized=False) for content in in_order])
    return tokenizer
