import pytest

from app.languages import NAMES, code_of


def test_there_are_a_hundred_languages():
    assert len(NAMES) == 100


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("zh", "zh"),
        ("ZH", "zh"),
        ("Chinese", "zh"),
        ("mandarin", "zh"),
        ("zh-TW", "zh"),
        ("zh_Hant_TW", "zh"),
        ("en-US", "en"),
        ("haitian creole", "ht"),
        ("yue", "yue"),
        ("zh-yue", "yue"),
        ("cmn-Hans-CN", "zh"),
        ("eng", "en"),
        ("ger", "de"),
        ("nb-NO", "no"),
        ("iw", "he"),
        ("jv-ID", "jw"),
        ("jw", "jw"),
        ("fil", "tl"),
    ],
)
def test_codes_names_and_regional_tags_are_understood(asked, code):
    assert code_of(asked) == code


@pytest.mark.parametrize("asked", ["klingon", "xx", "zz-TW", "", "english please"])
def test_other_words_are_no_language(asked):
    assert code_of(asked) is None
