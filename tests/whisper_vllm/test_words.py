"""Tokens make words: all of their text, each with its punctuation."""

from hypothesis import given
from hypothesis import strategies as st

from app.models.whisper_vllm.words import words_of


def split(*pieces):
    """Words of tokens that stand for these texts or bytes."""
    contents = [one if isinstance(one, bytes) else one.encode() for one in pieces]
    return [word.text for word in words_of(range(len(contents)), contents.__getitem__)]


def test_a_space_begins_a_word():
    assert split(" May", "day", " from", " the", " ves", "sel") == [" Mayday", " from", " the",
                                                                   " vessel"]  # fmt: skip


def test_punctuation_belongs_to_a_word():
    assert split(" Well", ",", ' "', "stop", '!"', " he", " said", ".") == [
        " Well,", ' "stop!"', " he", " said."
    ]  # fmt: skip


def test_each_chinese_character_is_a_word_and_a_latin_one_among_them_too():
    assert split("我", "用", "Py", "thon", "写", "。") == ["我", "用", "Python", "写。"]


def test_a_character_of_several_tokens_is_whole():
    first, *rest = "龘".encode()
    assert split(bytes([first]), bytes(rest), "好") == ["龘", "好"]


def test_bytes_that_are_no_character_are_told_as_such():
    assert split(" a", b"\xff", " b") == [" a�", " b"]


def test_nothing_has_no_words():
    assert split() == []


@given(st.lists(st.text(min_size=1, max_size=4), max_size=12))
def test_words_are_all_of_the_text_and_all_of_the_tokens(pieces):
    contents = [piece.encode("utf-8", "ignore") for piece in pieces]
    words = words_of(range(len(contents)), contents.__getitem__)
    assert "".join(word.text for word in words) == b"".join(contents).decode()
    assert [at for word in words for at in range(word.first, word.stop)] == [*range(len(contents))]
