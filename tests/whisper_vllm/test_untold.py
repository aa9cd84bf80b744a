from app.models.base import LanguageDetection
from app.models.whisper_vllm.decoder import LONG, Step
from app.models.whisper_vllm.untold import Untold

CLOSINGS = range(100, 200)
FIRST = LanguageDetection({"en": 1.0}, 0.0)


def begun(now=10.0):
    """A window whose first step is told."""
    untold = Untold(CLOSINGS)
    assert untold.add(Step((), FIRST), 1, now)
    assert untold.take() == (Step((), FIRST), ())
    return untold


def test_text_is_held_back_until_its_segment_closes():
    untold = begun()
    assert not untold.add(Step(((1, -0.1),)), 1, 10.01)
    assert not untold.add(Step(((2, -0.2),)), 1, 10.03)
    assert untold.add(Step(((150, -0.3),)), 1, 10.04)
    step, waits = untold.take()
    assert step == Step(((1, -0.1), (2, -0.2), (150, -0.3)))
    assert [round(wait, 6) for wait in waits] == [0.01, 0.02, 0.01]


def test_the_end_is_told_at_once_with_what_was_held_back():
    untold = begun()
    untold.add(Step(((1, -0.1),)), 1, 10.01)
    assert untold.add(Step(((9, -0.2),), ended="text"), 1, 10.02)
    assert untold.take()[0] == Step(((1, -0.1), (9, -0.2)), ended="text")


def told_of(untold, many, seconds):
    """Which of so many tokens are told at once, that come so far apart."""
    told = []
    for number in range(1, many + 1):
        if untold.add(Step(((1, -0.1),)), 1, 10 + seconds * number):
            told.append(number)
            untold.take()
    return told


def test_a_long_segment_is_told_where_the_decoder_looks_at_it():
    assert told_of(begun(), 39, 0.001) == [LONG // 2, LONG]


def test_text_is_told_every_second_however_little_it_is():
    assert told_of(begun(), 15, 0.3) == [4, 8, 12]


def test_what_was_told_for_its_time_counts_towards_a_long_segment():
    untold = begun()
    assert untold.add(Step(((1, -0.1),)), 1, 12.0)
    untold.take()
    assert [untold.add(Step(((1, -0.1),)), 1, 12.001) for _ in range(15)] == [False] * 14 + [True]


def test_tokens_that_come_together_share_their_wait():
    untold = begun()
    untold.add(Step(((1, -0.1), (2, -0.1))), 2, 10.02)
    untold.add(Step((), ended="limit"), 0, 10.03)
    assert [round(wait, 6) for wait in untold.take()[1]] == [0.01, 0.01]
