"""Short windows through the real engine, heard by an encoder of their own length."""

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from app.models.whisper_vllm.tokens import MOST_FRAMES


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """What windows of 3, 9 and 5 s are heard as, one by one and in one step."""
    file = tmp_path_factory.mktemp("short") / "heard.json"
    command = [sys.executable, "-m", "tests.engine.short_encoder", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(file.read_text("utf-8"))


def test_windows_of_unequal_length_in_one_step_are_heard_as_alone(heard):
    assert [one["text"] for one in heard["together"]] == [one["text"] for one in heard["alone"]]
    assert all(one["text"].strip() for one in heard["alone"])


def test_the_encoder_runs_on_no_more_than_a_window_and_its_margin(heard):
    measured = [one for one in heard["together"] if one["positions"] is not None]
    assert measured
    for one in measured:
        assert one["positions"] == one["expected"] < MOST_FRAMES


def test_words_have_times_within_their_window(heard):
    (longest,) = (one for one in heard["together"] if one["words"])
    assert all(0 <= start <= end <= 9000 for start, end, _ in longest["words"])
    assert all(a[1] <= b[0] for a, b in pairwise(longest["words"]))
    assert longest["words"][-1][0] > 4000
