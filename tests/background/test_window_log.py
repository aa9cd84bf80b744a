"""The log of finished windows, at a kill in any moment and on a disk that is full."""

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.background.window_log import WindowLog
from app.models.base import Segment, TokenLogprob, WindowFigures, Word
from app.transcription.coverage import Coverage, DroppedSpeech
from app.transcription.finished import Detected, FinishedWindow

FIGURES = WindowFigures(0, 0.2, float("-inf"), 1.5, 0.01)
SEGMENT = Segment(
    0, 900, " 你好", (5, 6), (TokenLogprob(b"\xe4\xbd", -0.5),), (Word(0, 900, " 你好", 1 / 3),),
    channel=1, figures=FIGURES,
)  # fmt: skip
WINDOW = FinishedWindow(
    (SEGMENT,),
    (Detected({"zh": 0.1 + 0.2, "en": 0.7}, 0.01, 2000),),
    Coverage(2000, 500, (DroppedSpeech(1000, 1500, "no_speech"),)),
)


@pytest.fixture
def writer():
    with ThreadPoolExecutor(1) as writer:
        yield writer


@pytest.fixture
def begun(tmp_path, writer):
    def begin(digest="a"):
        log = WindowLog(tmp_path / "windows.jsonl", writer)
        log.read()
        log.begin(digest)
        return log

    return begin


def test_a_window_comes_back_to_the_last_bit(begun):
    log = begun()
    log.of_channel(1).keep(7, WINDOW)
    log.flush()
    again = begun()
    assert again.of_channel(1).find(7) == WINDOW
    assert again.of_channel(0).find(7) is None
    assert again.places == [(1, 7)]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_kill_within_a_line_costs_that_line_alone(begun, tmp_path, cut):
    log = begun()
    for number in range(3):
        log.keep((0, number), WINDOW)
    log.flush()
    path = tmp_path / "windows.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = begun()
    assert again.places == [(0, 0), (0, 1)]
    again.keep((0, 2), WINDOW)
    again.flush()
    assert len(begun()) == 3


def test_windows_of_another_digest_count_for_nothing(begun):
    log = begun()
    log.keep((0, 0), WINDOW)
    log.flush()
    assert len(begun("b")) == 0
    assert len(begun("a")) == 0, "the log was begun anew"


def test_a_full_disk_is_told_with_the_next_window(begun, monkeypatch):
    log = begun()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    log.keep((0, 0), WINDOW)
    with pytest.raises(OSError, match="No space"):
        log.flush()
    with pytest.raises(OSError, match="No space"):
        log.keep((0, 1), WINDOW)
