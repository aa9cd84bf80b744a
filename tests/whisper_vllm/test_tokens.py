"""Token ids of a checkpoint, read from its files alone."""

import json
import shutil

import pytest

from app.environment import DEMO
from app.errors import BadSource
from app.models.whisper_vllm.text import TextCodec, load_tokenizer
from app.models.whisper_vllm.tokens import SpecialTokens

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


@pytest.fixture
def older(folder):
    """The same tokenizer as tools wrote it before tokenizer.json."""
    whole = json.loads((folder / "tokenizer.json").read_text())
    added = {entry["content"]: entry["id"] for entry in whole["added_tokens"]}
    merges = ["#version: 0.2", *(" ".join(pair) for pair in whole["model"]["merges"])]
    vocabulary = {t: i for t, i in whole["model"]["vocab"].items() if t not in added}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(merges))
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "tokenizer.json").unlink()
    return folder


def test_an_older_tokenizer_means_the_same(older):
    ours, theirs = load_tokenizer(CHECKPOINT), load_tokenizer(older)
    for text in (" Mayday, mayday.", "求救，這裡是藍鷺號。"):
        assert theirs.encode(text).ids == ours.encode(text, add_special_tokens=False).ids
    assert SpecialTokens.load(older) == SpecialTokens.load(CHECKPOINT)
    assert TextCodec(older, SpecialTokens.load(older)).decode([5, 6, 1200]) == ours.decode([5, 6])


def test_a_vocabulary_that_does_not_list_its_timestamps_has_them_all_the_same(older):
    added = json.loads((older / "added_tokens.json").read_text())
    kept = {content: i for content, i in added.items() if i < 1007}
    (older / "added_tokens.json").write_text(json.dumps(kept))
    assert SpecialTokens.load(older).first_timestamp == 1007


def test_no_speech_may_be_called_no_captions(older):
    added = json.loads((older / "added_tokens.json").read_text())
    added["<|nocaptions|>"] = added.pop("<|nospeech|>")
    (older / "added_tokens.json").write_text(json.dumps(added))
    assert SpecialTokens.load(older).no_speech == 1005


def test_without_a_generation_config_the_vocabularys_size_tells_english_only(folder):
    (folder / "generation_config.json").unlink()
    rewrite(folder / "config.json", vocab_size=51_864)
    assert SpecialTokens.load(folder).languages == {}
    rewrite(folder / "config.json", vocab_size=51_865, suppress_tokens=[3])
    tokens = SpecialTokens.load(folder)
    assert len(tokens.languages) == 99
    assert 3 in tokens.suppressed
