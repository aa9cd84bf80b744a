"""The benchmark of decoding hears clips of all languages that the demo has, behind silence."""

from collections import Counter

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE
from bench.recordings import cases


@pytest.fixture(scope="module")
def untold():
    return [case for case in cases() if not case.is_language_told]


def test_three_clips_of_each_language_wait_for_it_to_be_found(untold):
    languages = ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")
    assert Counter(case.language for case in untold) == dict.fromkeys(languages, 3)
    assert len({case.name for case in untold}) == len(untold)


def test_they_are_silent_until_their_first_sentence(untold):
    for case in untold:
        start, end = (int(at * SAMPLE_RATE) for at in (case.sentences[0].start, case.seconds))
        assert start >= 10 * SAMPLE_RATE
        assert not case.samples[: 10 * SAMPLE_RATE].any()
        assert np.abs(case.samples[start:end]).max() > 0.05
