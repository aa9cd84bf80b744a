"""OpenAI's tokenizers, from their words alone."""

import pytest

from app.errors import BadSource
from app.sources.vocabulary import make_tokenizer, non_speech_tokens

# openai/whisper `tokenizer.py::non_speech_tokens`, as the hub's generation_config.json has it.
MULTILINGUAL = [1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92]
MULTILINGUAL += [93, 359, 503, 522, 542, 873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460]
MULTILINGUAL += [2627, 3246, 3253, 3268, 3536, 3846, 3961, 4183, 4667, 6585, 6647, 7273, 9061, 9383]
MULTILINGUAL += [10428, 10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635, 15265, 15618]
MULTILINGUAL += [16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279]
MULTILINGUAL += [29464, 31650, 32302, 32470, 36865, 42863, 47425, 49870, 50254]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(51_865)


def test_the_ids_are_openais(tokenizer):
    named = {"<|endoftext|>": 50257, "<|startoftranscript|>": 50258, "<|en|>": 50259}
    named |= {"<|su|>": 50357, "<|translate|>": 50358, "<|nospeech|>": 50362, "<|0.00|>": 50364}
    assert {name: tokenizer.token_to_id(name) for name in named} == named
    assert tokenizer.get_vocab_size() == 51_865


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        (51_864, {"<|endoftext|>": 50256, "<|notimestamps|>": 50362}),
        (51_866, {"<|yue|>": 50358, "<|notimestamps|>": 50364, "<|30.00|>": 51865}),
    ],
)
def test_english_alone_has_one_token_less_and_cantonese_one_more(tokens, named):
    tokenizer = make_tokenizer(tokens)
    assert {name: tokenizer.token_to_id(name) for name in named} == named


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (" the", [264]),
        (" Hello, world!", [2425, 11, 1002, 0]),
        (" 台北", [220, 15433, 26668]),
    ],
)
def test_words_are_merged_as_openai_does(tokenizer, text, ids):
    found = tokenizer.encode(text, add_special_tokens=False).ids
    assert found == ids
    assert tokenizer.decode(found) == text


def test_what_stands_for_no_speech_is_openais_list(tokenizer):
    assert non_speech_tokens(tokenizer) == MULTILINGUAL


def test_another_size_is_refused():
    with pytest.raises(BadSource, match="none of OpenAI's"):
        make_tokenizer(50_000)
