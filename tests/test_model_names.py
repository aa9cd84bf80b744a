"""Names that clients have for models."""

import pytest

from app.model_names import OPENAI, is_known, size_of

SIZES = {
    "large-v3": "large-v3",
    "large": "large-v3",
    " Large-V3 ": "large-v3",
    "whisper-large-v3": "large-v3",
    "openai/whisper-large-v3": "large-v3",
    "Systran/faster-whisper-large-v3": "large-v3",
    "openai/whisper-large": "large-v1",
    "turbo": "large-v3-turbo",
    "whisper-large-v3-turbo": "large-v3-turbo",
    "mobiuslabsgmbh/faster-whisper-large-v3-turbo": "large-v3-turbo",
    "deepdml/faster-whisper-large-v3-turbo-ct2": "large-v3-turbo",
    "tiny.en": "tiny.en",
    "openai/whisper-small.en": "small.en",
    "Systran/faster-whisper-base.en": "base.en",
    "distil-small.en": "distil-small.en",
    "Systran/faster-distil-whisper-small.en": "distil-small.en",
    "distil-whisper/distil-large-v3": "distil-large-v3",
    "distil-whisper/distil-large-v3.5-ct2": "distil-large-v3.5",
    "distil-whisper-large-v3-en": "distil-large-v3",
}


@pytest.mark.parametrize("name", SIZES)
def test_a_name_means_a_size(name):
    assert size_of(name) == SIZES[name]
    assert is_known(name)


@pytest.mark.parametrize(
    "name",
    [
        *OPENAI, "gpt-4o-mini-transcribe-2025-12-15", "openai/gpt-4o-transcribe", "Whisper-1",
        "gpt-realtime-whisper", "whisper", "openai/whisper-large-v4", "distil-large-v4",
        "Systran/faster-whisper-large-v4",
    ],
)  # fmt: skip
def test_a_name_is_known_without_a_size(name):
    assert is_known(name)
    assert size_of(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "", "*", "gpt-9", "gpt-4o", "gpt-4o-transcribe-diarize", "whisper-9", "large-v4",
        "somebody/whisper-large-v3", "openai/", "openai/whisper-", "a/openai/whisper-tiny",
        "openai/whisper-tiny/x", "faster-", "-ct2", "whisper-1-2025",
    ],
)  # fmt: skip
def test_other_names_are_not_known(name):
    assert not is_known(name)
    assert size_of(name) is None
