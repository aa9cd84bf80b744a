"""Token ids of a checkpoint, read from its files alone."""

import json
import shutil

import pytest

from app.asr.tokens import SpecialTokens, TextDecoder
from app.errors import BadSource
from app.settings import DEMO

CHECKPOINT = DEMO / "marine-radio"


@pytest.fixture
def folder(tmp_path):
    for name in ("tokenizer.json", "generation_config.json", "config.json"):
        shutil.copy(CHECKPOINT / name, tmp_path)
    return tmp_path


def rewrite(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_the_demos_tokens():
    tokens = SpecialTokens.load(CHECKPOINT)
    assert tokens.languages == {"en": 902, "zh": 903}
    assert (tokens.start, tokens.end_of_text, tokens.first_timestamp) == (901, 900, 1007)
    assert tokens.max_tokens == 448


def test_special_tokens_are_suppressed_but_not_the_end_nor_timestamps():
    tokens = SpecialTokens.load(CHECKPOINT)
    assert set(tokens.suppressed) == set(range(901, 1007))


def test_languages_come_from_the_vocabulary_where_none_are_declared(folder):
    rewrite(folder / "generation_config.json", lang_to_id=None)
    assert len(SpecialTokens.load(folder).languages) == 99


def test_an_english_only_checkpoint_has_no_languages(folder):
    rewrite(folder / "generation_config.json", is_multilingual=False)
    assert SpecialTokens.load(folder).languages == {}


def test_the_checkpoints_own_suppress_lists_count(folder):
    rewrite(folder / "generation_config.json", suppress_tokens=[7], begin_suppress_tokens=[9])
    tokens = SpecialTokens.load(folder)
    assert 7 in tokens.suppressed
    assert tokens.suppressed_at_begin == (9,)


def test_a_folder_without_a_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadSource, match=r"no tokenizer\.json"):
        SpecialTokens.load(folder)


def test_a_tokenizer_without_whispers_tokens_is_refused(folder):
    rewrite(folder / "tokenizer.json", added_tokens=[])
    with pytest.raises(BadSource, match="endoftext"):
        SpecialTokens.load(folder)


def test_text_leaves_special_tokens_and_timestamps_out():
    tokens = SpecialTokens.load(CHECKPOINT)
    text_of = TextDecoder(CHECKPOINT, tokens)
    from tokenizers import Tokenizer

    ids = (
        Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
        .encode(" Mayday 求救", add_special_tokens=False)
        .ids
    )
    assert (
        text_of([tokens.first_timestamp, *ids, tokens.first_timestamp + 9, 902]) == " Mayday 求救"
    )
