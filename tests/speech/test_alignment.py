"""Tokens are aligned to frames by the best way through what the heads attend to."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from app.speech.alignment import CrossAttention, first_frames, scores, smoothed


def ways(tokens, frames):
    """All ways through a score: the token of each step and its frame, a step on in either or
    both."""
    steps = [(1, 0), (0, 1), (1, 1)]

    def behind(at):
        if at == (tokens - 1, frames - 1):
            yield [at]
            return
        for step in steps:
            to = (at[0] + step[0], at[1] + step[1])
            if to[0] < tokens and to[1] < frames:
                yield from ([at, *rest] for rest in behind(to))

    return behind((0, 0))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10_000))
def test_the_way_is_the_best_of_all(tokens, frames, seed):
    score = np.random.default_rng(seed).normal(size=(tokens, frames)).astype(np.float32)
    best = max(ways(tokens, frames), key=lambda way: sum(score[at] for at in way))
    first = [next(j for i, j in best if i == token) for token in range(tokens)]
    assert first_frames(score) == first


def test_tokens_begin_where_their_scores_do():
    score = np.full((3, 30), -1, np.float32)
    score[0, :10] = score[1, 10:18] = score[2, 18:] = 1
    assert first_frames(score) == [0, 10, 18]


@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 10_000))
def test_first_frames_never_go_back(tokens, frames, seed):
    score = np.random.default_rng(seed).normal(size=(tokens, frames)).astype(np.float32)
    first = first_frames(score)
    assert first[0] == 0
    assert all(a <= b < frames for a, b in itertools.pairwise(first))


def test_attention_is_where_queries_meet_keys():
    keys = np.eye(4, dtype=np.float32)[None] * 40
    found = CrossAttention(keys[:, [2, 0]], keys).weights()
    assert found.shape == (1, 2, 4)
    assert found.argmax(axis=-1).tolist() == [[2, 0]]
    assert found.sum(axis=-1) == pytest.approx(1)


@given(st.integers(1, 5), st.integers(5, 40), st.integers(0, 10_000))
def test_scores_are_smoothed_by_the_median_of_seven_frames(tokens, frames, seed):
    score = np.random.default_rng(seed).normal(size=(tokens, frames)).astype(np.float32)
    expected = median_filter(score, size=(1, 7), mode="mirror")
    np.testing.assert_array_equal(smoothed(score), expected)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_what_is_shorter_than_seven_frames_is_smoothed_too(frames):
    assert smoothed(np.ones((2, frames), np.float32)).tolist() == np.ones((2, frames)).tolist()


def test_a_head_that_looks_everywhere_alike_scores_nothing():
    flat = np.full((1, 3, 20), 1 / 20, np.float32)
    assert scores(flat, [0]).tolist() == np.zeros((3, 20)).tolist()
