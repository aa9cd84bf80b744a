"""The policy on a decoded window: accept, decode again, or drop, each for its reason."""

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.base import (
    DecodeRequest,
    LanguageDetection,
    Segment,
    TokenLogprob,
    WindowFigures,
    WindowResult,
)
from app.speech.stretches import Stretch
from app.speech.windows import Part, Window
from app.transcription.policy import (
    Accept,
    DecodeAgain,
    Drop,
    judge,
    may_be_dropped,
    may_be_silence,
    repeats,
)
from tests.sound import silence, tone

SPOKEN = Window.of(0, to_pcm(np.concatenate([tone(4), silence(1), tone(3)])))  # sound up to 8 s
QUIET = Window.of(0, to_pcm(silence(5)))
FIRST, TAIL = Segment(0, 4000, " one"), Segment(4000, 8000, " two")


def result(
    *closed, tail=None, ended="text", window=SPOKEN, prompt="", no_speech=0.0, logprob=-0.1,
    ratio=1, shortened=False, **asked,
):  # fmt: skip
    request = DecodeRequest(window, prompt=prompt, **asked)
    figures = WindowFigures(window.start_ms, 0.0, logprob, ratio, no_speech)
    detection = LanguageDetection({"en": 1.0}, no_speech)
    return WindowResult(request, detection, figures, closed, tail, ended, is_shortened=shortened)


def again(one, **kwargs):
    """The verdict on a result, which is to decode it again."""
    verdict = judge(one, **kwargs)
    assert isinstance(verdict, DecodeAgain)
    return verdict


def test_what_ended_by_itself_is_accepted_with_its_tail():
    assert judge(result(FIRST, tail=TAIL)) == Accept((FIRST, TAIL))


def test_silence_is_what_the_model_calls_silence_and_is_unsure_of():
    silent = result(FIRST, no_speech=0.9, logprob=-1.5)
    assert judge(silent) == Drop("no_speech")
    assert may_be_silence(silent)
    assert judge(result(FIRST, no_speech=0.9)) == Accept((FIRST,))


@pytest.mark.parametrize(
    ("no_speech", "logprob", "is_dropped"),
    [(0.61, -1.01, True), (0.59, -1.01, False), (0.61, -0.99, False), (0.1, -9, False)],
)
def test_both_figures_must_call_it_silence(no_speech, logprob, is_dropped):
    one = result(FIRST, tail=TAIL, no_speech=no_speech, logprob=logprob)
    assert (judge(one) == Drop("no_speech")) is is_dropped


@pytest.mark.parametrize(
    ("ratio", "is_loop"), [(2.39, False), (2.41, True)],
)  # fmt: skip
def test_text_that_shrinks_to_less_than_openais_share_repeats_itself(ratio, is_loop):
    assert repeats(result(prompt="before", ratio=ratio)) is is_loop
    assert repeats(result(ended="limit", ratio=ratio)) is is_loop


@pytest.mark.parametrize(("letters", "is_loop"), [(35, False), (37, True)])
def test_a_detector_may_miss_a_fifth_of_a_second_of_what_is_said(letters, is_loop):
    """Thirty letters a second are more than anybody says."""
    window = Window((Part(0, to_pcm(silence(8))),), (Stretch(0, SAMPLE_RATE),))
    fast = Segment(0, 1000, "a" * letters)
    assert repeats(result(fast, ratio=3, window=window)) is is_loop


def test_what_does_not_repeat_itself_is_told_as_it_is():
    thrice = Segment(4000, 8000, " no no no", tokens=(1, 1, 1))
    assert judge(result(FIRST, tail=thrice)) == Accept((FIRST, thrice))


def test_of_a_loop_that_nothing_helps_against_one_round_is_told_without_its_tokens():
    logprob = TokenLogprob(b" no", -0.1)
    tail = Segment(4000, 8000, " no no no no", tokens=(1,) * 4, logprobs=(logprob,) * 4)
    once = Segment(4000, 8000, " no")
    assert judge(result(FIRST, tail=tail), looped=True, last=True) == Accept((FIRST, once), True)
    assert judge(result(FIRST), looped=True, last=True) == Accept((FIRST,), True)


@pytest.mark.parametrize(
    ("temperature", "fallback", "then"), [(0.6, True, 0.0), (0.3, False, 0.3)]
)  # fmt: skip
def test_the_rest_is_decoded_cold_unless_a_temperature_was_asked_for(temperature, fallback, then):
    one = result(FIRST, ended="limit", temperature=temperature, fallback=fallback)
    assert again(one).request.temperature == then


def test_only_what_follows_a_segment_is_a_rest():
    assert again(result(FIRST, ended="limit")).request.is_rest
    assert not again(result(tail=TAIL, ended="limit", prompt="before")).request.is_rest


def test_the_rest_begins_behind_the_last_segment():
    verdict = again(result(FIRST, Segment(4000, 6000, " two"), ended="limit"))
    assert verdict.request.window.start_ms == 6000


def test_the_rest_is_decoded_without_keywords():
    assert not again(result(FIRST, ended="limit", keywords=("Heron",))).request.prompted


def test_halves_are_no_longer_than_what_they_are_halves_of():
    first = again(result(tail=TAIL), looped=True)
    lengths = [one.window.duration_ms for one in (first.request, first.then)]
    assert sum(lengths) == SPOKEN.duration_ms
    assert all(lengths)


def test_where_the_room_ended_the_rest_is_decoded_again():
    verdict = judge(result(FIRST, tail=TAIL, ended="limit"))
    assert isinstance(verdict, DecodeAgain)
    assert (verdict.reason, verdict.segments, verdict.tail) == ("limit", (FIRST,), TAIL)
    assert verdict.request.window.start_ms == 4000
    assert verdict.request.window.duration_ms == 4000


def test_the_last_pass_is_accepted_as_it_is():
    assert judge(result(FIRST, tail=TAIL, ended="limit"), last=True) == Accept((FIRST, TAIL))


def test_repetition_is_looked_for_behind_prompts():
    assert repeats(result(prompt="before", ratio=2.5))
    assert not repeats(result(ratio=30))
    verdict = judge(result(FIRST, tail=TAIL, prompt="before", ratio=3), looped=True)
    assert isinstance(verdict, DecodeAgain)
    assert (verdict.reason, verdict.tail) == ("repetition", None)
    assert not verdict.request.prompted


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (result(FIRST, prompt="before"), "ended_early"),
        (result(prompt="before"), "ended_early"),
        (result(FIRST, prompt="x", no_speech=0.9, logprob=-1.5), "silence_after_prompt"),
        (result(FIRST, prompt="before", window=QUIET), None),
        (result(FIRST, tail=TAIL, prompt="before"), None),
        (result(FIRST), None),
    ],
)
def test_a_prompted_decoder_is_not_believed_where_something_still_sounds(one, reason):
    verdict = judge(one)
    assert (verdict.reason if isinstance(verdict, DecodeAgain) else None) == reason


@pytest.mark.parametrize(("seconds", "is_again"), [(4.45, False), (4.55, True)])
def test_less_than_half_a_second_is_not_worth_a_pass(seconds, is_again):
    window = Window.of(0, to_pcm(silence(seconds)))
    assert isinstance(judge(result(FIRST, ended="limit", window=window)), DecodeAgain) is is_again


SPOKEN_ON = Window((Part(0, to_pcm(tone(8))),), (Stretch(0, 8 * SAMPLE_RATE),))
DOUBTS = [
    {"ratio": 1.7},
    {"logprob": -1.1},
    {"no_speech": 0.7},
    {"ended": "limit"},
    {"window": SPOKEN_ON},  # its second half has no text
]


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_is_doubtful_of_a_shortened_window_is_heard_whole(doubt):
    one = result(FIRST, shortened=True, **doubt)
    verdict = again(one)
    assert (verdict.reason, verdict.segments) == ("shortened", ())
    assert verdict.request.is_whole
    assert verdict.request.window == one.request.window


def test_a_shortened_window_that_loops_is_heard_whole():
    assert again(result(FIRST, shortened=True), looped=True).reason == "shortened"


@pytest.mark.parametrize("is_open", [False, True])
def test_a_shortened_window_that_tells_its_end_twice_is_heard_whole(is_open):
    said = Segment(0, 4000, "週末には多くの家族が見に来ます")
    more = Segment(4000, 8000, "中山寺にわおくの家族が見に来ます")
    one = result(said, tail=more, shortened=True) if is_open else result(said, more, shortened=True)
    assert again(one).reason == "shortened"


def test_a_shortened_window_with_more_text_than_can_be_said_is_heard_whole():
    hasty = Segment(0, 8000, " fourteen words" * 3 + "".join(map(chr, range(0x4E00, 0x4E80))))
    assert again(result(hasty, shortened=True)).reason == "shortened"


def test_a_shortened_window_without_doubt_is_accepted():
    assert judge(result(FIRST, tail=TAIL, shortened=True)) == Accept((FIRST, TAIL))


def test_a_window_that_was_heard_whole_is_not_doubted_for_the_same():
    assert judge(result(FIRST, tail=TAIL, ratio=1.7)) == Accept((FIRST, TAIL))


def test_nothing_of_a_shortened_window_is_told_before_its_end():
    assert may_be_dropped(result(FIRST, shortened=True))
    assert not may_be_dropped(result(FIRST))
