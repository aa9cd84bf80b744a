"""Recordings that benchmarks make are as long, and as full of speech, as they are asked for."""

import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE
from bench.talk import as_opus, as_wav, now_and_then, throughout


def test_the_prose_begins_again_where_it_ends():
    first, second = throughout(700)
    assert len(first) + len(second) == 700 * SAMPLE_RATE
    assert np.array_equal(second, first[: len(second)])


def test_somebody_speaks_for_a_share_of_the_time():
    samples = np.concatenate(list(now_and_then(900, 1 / 3)))
    assert len(samples) == pytest.approx(900 * SAMPLE_RATE, abs=100)
    assert 0.3 < np.mean(samples != 0) < 0.4


def test_what_is_made_with_silence_is_the_same_each_time():
    one, other = (np.concatenate(list(now_and_then(60, 1 / 3))) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("write", [as_wav, as_opus])
def test_a_file_holds_all_that_was_made(write, tmp_path):
    with write(tmp_path / "made", throughout(5)).open("rb") as file:
        heard = decode(file, max_seconds=60)
    assert heard.seconds == pytest.approx(5, abs=0.05)
