"""The decoder's prompt: the text that came before the window, as Whisper was trained with it.

    <|startofprev|> words, names and style <|startoftranscript|>

Source: openai/whisper `decoding.py::_get_initial_tokens`.
"""

from collections.abc import Sequence

from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens

# OpenAI's limit. Half the decoder's positions: the rest must hold what is said.
_MOST = 224


def prompt_ids(
    tokens: SpecialTokens, codec: TextCodec, prompt: str, keywords: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the decoder's prompt. Only text comes through: a special token spelt out in `prompt`
    or in a keyword is dropped. Of more than 224 tokens the last are kept; keywords stand last."""
    words = ", ".join(word.strip() for word in keywords if word.strip())
    text = " ".join(part for part in (prompt.strip(), words) if part)
    ids = [i for i in codec.encode(f" {text}") if i < tokens.end_of_text]
    if not codec.decode(ids).strip():
        return (tokens.start,)
    kept = ids[-min(_MOST, tokens.max_tokens // 2) :]
    return (tokens.start_of_previous, *kept, tokens.start)
