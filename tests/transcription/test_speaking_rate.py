"""What takes longer to say than there was time for was not said."""

import pytest

from app.transcription.speaking_rate import least_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("a" * 30, 1),
        ("é" * 30, 1),  # a letter, of whatever alphabet
        ("ж" * 30, 1),
        ("求" * 12, 1),
        ("ひ" * 12, 1),
        ("カ" * 12, 1),
        ("말" * 12, 1),
        ("7" * 8, 1),
        ("٣" * 8, 1),  # a digit, of whatever script
        (" ,.!?…—\n、。-", 0),
        ("Heron 7, 求救!", 5 / 30 + 1 / 8 + 2 / 12),
        ("", 0),
    ],
)
def test_a_text_takes_as_long_as_its_letters_syllables_and_digits(text, seconds):
    assert least_seconds(text) == pytest.approx(seconds)
