"""What a shorter encoder costs is counted by classes of length."""

import pytest

from app.quantization.encoder_check import length_classes
from app.recordings.clip import Clip


def clip(text, language="en"):
    return Clip(audio=b"", text=text, language=language)


def test_each_class_has_the_errors_of_its_own_recordings():
    clips = [clip("a red fox ran"), clip("so fast"), clip("over there")]
    whole = ["a red fox ran", "so fast", "over"]
    short = ["a red fox", "so fast", "over"]
    few, many = length_classes(clips, [4000, 5000, 12_000], whole, short)
    assert (few.longest_ms, few.recordings) == (5000, 2)
    assert few.points == pytest.approx(16.67)
    assert (many.longest_ms, many.points, many.recordings) == (15_000, 0, 1)


def test_languages_without_spaces_count_characters():
    (found,) = length_classes([clip("一二三四", "zh")], [2000], ["一二三四"], ["一二三"])
    assert found.points == 25


def test_a_class_without_recordings_is_not_there():
    assert length_classes([], [], [], []) == ()
