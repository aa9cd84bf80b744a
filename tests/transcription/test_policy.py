"""The policy on a decoded window: accept, decode again, or drop, each for its reason."""

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.base import (
    DecodeRequest,
    LanguageDetection,
    Segment,
    WindowFigures,
    WindowResult,
)
from app.speech.windows import Window
from app.transcription.policy import Accept, DecodeAgain, Drop, judge, may_be_silence, repeats
from tests.sound import silence, tone

SPOKEN = Window.of(0, to_pcm(np.concatenate([tone(4), silence(1), tone(3)])))  # sound up to 8 s
QUIET = Window.of(0, to_pcm(silence(5)))
FIRST, TAIL = Segment(0, 4000, " one"), Segment(4000, 8000, " two")


def result(
    *closed, tail=None, ended="text", window=SPOKEN, prompt="", no_speech=0.0, logprob=-0.1, ratio=1
):
    request = DecodeRequest(window, prompt=prompt)
    figures = WindowFigures(window.start_ms, 0.0, logprob, ratio, no_speech)
    detection = LanguageDetection({"en": 1.0}, no_speech)
    return WindowResult(request, detection, figures, closed, tail, ended)


def test_what_ended_by_itself_is_accepted_with_its_tail():
    assert judge(result(FIRST, tail=TAIL)) == Accept((FIRST, TAIL))


def test_silence_is_what_the_model_calls_silence_and_is_unsure_of():
    silent = result(FIRST, no_speech=0.9, logprob=-1.5)
    assert judge(silent) == Drop("no_speech")
    assert may_be_silence(silent)
    assert judge(result(FIRST, no_speech=0.9)) == Accept((FIRST,))


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


def test_less_than_half_a_second_is_not_worth_a_pass():
    short = Window.of(0, to_pcm(np.zeros(int(4.3 * SAMPLE_RATE), np.float32)))
    assert judge(result(FIRST, ended="limit", window=short)) == Accept((FIRST,))
