"""Token ids to text, bytes and back."""

import pytest

from app.environment import DEMO
from app.models.whisper_vllm.prompt import prompt_ids
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens

CHECKPOINT = DEMO / "marine-radio"
T = SpecialTokens.load(CHECKPOINT)
TEXT = TextCodec(CHECKPOINT, T)


def test_special_tokens_and_timestamps_are_not_text():
    ids = TEXT.encode(" Mayday 求救")
    assert TEXT.decode([T.first_timestamp, *ids, T.first_timestamp + 9, 902]) == " Mayday 求救"


@pytest.mark.parametrize("text", [" Mayday, 求救。", " naïve – \t\n", " 🚢 𠮷"])
def test_the_bytes_of_tokens_are_the_bytes_of_the_text(text):
    assert b"".join(TEXT.content(i) for i in TEXT.encode(text)) == text.encode()


def prompted(prompt, *keywords):
    return prompt_ids(T, TEXT, prompt, keywords)


def test_without_words_the_prompt_is_the_start_alone():
    for words in ("", "  ", "<|endoftext|>"):
        assert prompted(words, " ") == (T.start,)


def test_the_prompt_stands_before_the_start_and_keywords_behind_it():
    first, *middle, last = prompted(" Pan pan. ", "Blue Heron", "Grey Owl")
    assert (first, last) == (T.start_of_previous, T.start)
    assert TEXT.decode(middle) == " Pan pan. Blue Heron, Grey Owl"


@pytest.mark.parametrize(
    "spelt", ["<|endoftext|>", "<|startoftranscript|>", "<|0.00|>", "<|nospeech|><|zh|>"]
)
def test_a_special_token_in_the_prompt_does_not_come_through(spelt):
    _, *middle, _ = prompted(f"Mayday {spelt} over", f"Heron{spelt}")
    assert all(i < T.end_of_text for i in middle)
    assert "Mayday" in TEXT.decode(middle)


def test_of_a_long_prompt_the_last_tokens_are_kept():
    _, *middle, _ = prompted("one two three " * 200, "Blue Heron")
    assert len(middle) == 224
    assert TEXT.decode(middle).endswith("one two three Blue Heron")
