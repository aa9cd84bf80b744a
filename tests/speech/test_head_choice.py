"""Heads are chosen by how well they find words whose times are known."""

import numpy as np

from app.speech.alignment import FRAME_MS, moved
from app.speech.head_choice import Known, chosen, off_ms

FRAMES, STARTS = 60, (0, 11, 25, 42)


def window(*heads, seed=0):
    """A window of four tokens, each a word. heads: how many frames early each attends, and None
    where it looks anywhere."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, 0.2, (len(heads), len(STARTS), FRAMES)).astype(np.float32) - 1
    for head, early in enumerate(heads):
        for token, (start, stop) in enumerate(zip(STARTS, (*STARTS[1:], FRAMES), strict=True)):
            if early is not None:
                scores[head, token, max(0, start - early) : max(0, stop - early)] += 2
    ends = scores.copy()
    return Known(ends, tuple(range(len(STARTS))), tuple(FRAME_MS * start for start in STARTS))


def test_a_head_that_attends_where_words_are_said_is_chosen_alone():
    windows = [window(None, 0, None, seed=seed) for seed in range(3)]
    assert chosen(windows, 3) == {1: 0}


def test_a_head_that_attends_early_gets_its_lag():
    windows = [window(None, 4, seed=seed) for seed in range(3)]
    assert chosen(windows, 2) == {1: 4}
    assert np.abs(off_ms(windows, [1], [4])).max() == 0


def test_a_head_that_attends_late_gets_a_negative_lag():
    windows = [window(-3, None, seed=seed) for seed in range(3)]
    assert chosen(windows, 2) == {0: -3}


def test_scores_move_by_their_lags():
    scores = np.arange(4, dtype=np.float32).reshape(1, 1, 4).repeat(2, axis=0)
    assert moved(scores, [1, -2])[:, 0].tolist() == [[0, 0, 1, 2], [2, 3, 3, 3]]
