"""Tokens to timed segments: nothing said is lost, and no time lies outside its window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.asr.segments import Decoded, Piece, compression_ratio, segments_of, split
from app.asr.tokens import SpecialTokens
from app.asr.transcript import join
from app.audio.waveform import SAMPLE_RATE
from app.audio.windows import Window
from app.settings import DEMO

T = SpecialTokens.load(DEMO / "marine-radio")
TS = T.first_timestamp


def letters(ids):
    return "".join(chr(97 + i % 26) for i in ids if i < T.end_of_text)


def heard(*tokens, window=None):
    window = window or Window(5 * SAMPLE_RATE, np.zeros(10 * SAMPLE_RATE, np.float32))
    decoded = Decoded(tokens, {"en": 1.0}, 0.01, -0.2, 0.0)
    return segments_of(decoded, window, T, letters)


def test_pairs_of_timestamps_bound_segments():
    first, second = heard(TS, 1, 2, TS + 50, TS + 60, 3, TS + 100)
    assert (first.start_ms, first.end_ms, first.text) == (5000, 6000, "bc")
    assert (second.start_ms, second.end_ms, second.text) == (6200, 7000, "d")


def test_an_unclosed_tail_is_kept_and_ends_with_its_window():
    _, tail = heard(TS, 1, TS + 50, TS + 60, 2, 3)
    assert (tail.text, tail.start_ms, tail.end_ms) == ("cd", 6200, 15000)


def test_text_without_any_timestamp_spans_its_window():
    (only,) = heard(1, 2)
    assert (only.start_ms, only.end_ms) == (5000, 15000)


def test_times_beyond_the_windows_end_are_drawn_in():
    (only,) = heard(TS + 400, 1, TS + 1400)
    assert (only.start_ms, only.end_ms) == (13000, 15000)


def test_silence_has_no_segments():
    assert heard() == []
    assert heard(TS) == []


@given(st.lists(st.integers(0, 899) | st.integers(TS, TS + 1500), max_size=60))
def test_every_text_token_is_in_exactly_one_piece(ids):
    pieces = split(T, ids)
    assert [i for p in pieces for i in p.ids] == [i for i in ids if i < T.end_of_text]
    assert all(isinstance(p, Piece) and p.ids for p in pieces)


def test_repetition_compresses_well():
    assert compression_ratio("the ship is sinking " * 20) > 2.4 > compression_ratio("Mayday.")
    assert compression_ratio("") == 0


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([" Mayday.", " Over."], "Mayday. Over."),
        (["求救，", "這裡是藍鷺號。"], "求救，這裡是藍鷺號。"),
        (["one ", " two"], "one two"),
        ([], ""),
    ],
)
def test_pieces_join_without_doubled_or_invented_spaces(pieces, text):
    assert join(pieces) == text
