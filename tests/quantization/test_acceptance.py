"""From two hearings to a verdict: every limit, alone and by language."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.quantization.acceptance import doubts, judge, score
from app.quantization.proof import LanguageProof, TranscribedSet
from app.quantization.request import Thresholds
from app.recordings.clip import Clip
from app.recordings.error_rates import Interval
from app.recordings.word_times import TimedWord

SAME = {
    "overall": {
        "nll_difference": {"value": 0.0, "low": 0.0, "high": 0.0},
        "token_agreement": {"value": 1.0, "low": 1.0, "high": 1.0},
    }
}
NO_LIMIT = {"min_recovery": None}


def at(value, low=None, high=None):
    return Interval(value, value if low is None else low, value if high is None else high)


def language(source=0.1, candidate=0.1, kept=None, metric="wer"):
    """A language's proof, in which so much is kept of the source's accuracy."""
    return LanguageProof(
        recordings=10,
        metric=metric,
        source={metric: at(source)},
        candidate={metric: at(candidate)},
        recovery=kept or at(source / candidate),
        increase=candidate - source,
    )


@pytest.mark.parametrize(
    ("recordings", "kept", "limits", "told"),
    [
        (6, at(0.7, 0.2, 1.4), {}, "en: 6 of at least 30 recordings"),
        (6, at(1.0), NO_LIMIT, "en: 6 of at least 30 recordings"),
        (29, at(1.0), {}, "en: 29 of at least 30 recordings"),
        (30, at(1.0), {}, None),
        (300, at(0.95, 0.85, 1.02), {}, "on both sides of the limit of 90.0%"),
        (300, at(0.85, 0.8, 0.93), {}, "on both sides of the limit of 90.0%"),
        (300, at(0.85, 0.8, 0.89), {}, None),
        (300, at(0.95, 0.91, 0.99), {}, None),
        (300, at(0.95, 0.85, 1.02), NO_LIMIT, None),
    ],
)
def test_a_verdict_that_other_recordings_might_turn_is_said_to_say_little(
    recordings, kept, limits, told
):
    one = language(kept=kept).model_copy(update={"recordings": recordings})
    found = doubts({"en": one}, Thresholds(**limits))
    if told is None:
        assert found == []
    else:
        (note,) = found
        assert told in note


def comparison(nll=0.0, agreement=1.0):
    return {"overall": {"nll_difference": {"value": nll}, "token_agreement": {"value": agreement}}}


def test_a_candidate_that_loses_nothing_is_proven():
    limits = Thresholds(
        min_recovery=1, min_recovery_low=1, max_increase=0, max_error_rate=0.1,
        max_nll_increase=0, min_token_agreement=1,
    )  # fmt: skip
    assert judge({"en": language(), "zh": language(metric="cer")}, SAME, limits) == []


@pytest.mark.parametrize(
    ("limits", "proof", "reason"),
    [
        ({"min_recovery": 0.9}, language(0.1, 0.125), "en: recovery 80.0%, under 90.0%"),
        ({"min_recovery_low": 0.9} | NO_LIMIT, language(kept=at(0.95, 0.85, 1.1)),
         "en: recovery may be as low as 85.0%, under 90.0%"),
        ({"max_increase": 0.01} | NO_LIMIT, language(0.1, 0.12),
         "en: WER grew by 2.00 points, over 1.00"),
        ({"max_error_rate": 0.1} | NO_LIMIT, language(0.1, 0.125), "en: WER 12.50%, over 10.00%"),
        ({"max_error_rate": 0.1} | NO_LIMIT, language(0.1, 0.125, metric="cer"),
         "en: CER 12.50%, over 10.00%"),
    ],
)  # fmt: skip
def test_each_limit_alone_rejects_and_says_why(limits, proof, reason):
    assert judge({"en": proof}, SAME, Thresholds(**limits)) == [reason]


@pytest.mark.parametrize(
    ("limits", "figures", "reason"),
    [
        ({"max_nll_increase": 0.01}, comparison(nll=0.02),
         "the loss grew by 0.0200 nats a token, over 0.01"),
        ({"min_token_agreement": 0.99}, comparison(agreement=0.985),
         "token agreement 98.50%, under 99.00%"),
    ],
)  # fmt: skip
def test_each_limit_over_all_languages_alone_rejects_and_says_why(limits, figures, reason):
    assert judge({"en": language()}, figures, Thresholds(**limits)) == [reason]


@pytest.mark.parametrize(
    ("limits", "proof", "figures"),
    [
        ({"min_recovery": 0.8}, language(0.1, 0.125), SAME),
        ({"min_recovery_low": 0.85} | NO_LIMIT, language(kept=at(0.95, 0.85)), SAME),
        ({"max_increase": 0.25} | NO_LIMIT, language(0.25, 0.5), SAME),
        ({"max_error_rate": 0.5} | NO_LIMIT, language(0.1, 0.5), SAME),
        ({"max_nll_increase": 0.5}, language(), comparison(nll=0.5)),
        ({"min_token_agreement": 0.5}, language(), comparison(agreement=0.5)),
    ],
)
def test_what_is_just_at_a_limit_is_within_it(limits, proof, figures):
    assert judge({"en": proof}, figures, Thresholds(**limits)) == []


def test_a_limit_that_is_not_set_rejects_nothing():
    ruined = language(0.01, 3.0)
    assert judge({"en": ruined}, comparison(9.0, 0.0), Thresholds(**NO_LIMIT)) == []


def test_a_candidate_that_is_better_is_proven():
    better = language(0.2, 0.1)
    limits = Thresholds(min_recovery=1, max_increase=0, max_nll_increase=0)
    assert judge({"en": better}, comparison(nll=-0.5), limits) == []


def test_every_language_is_judged_and_every_reason_told():
    limits = Thresholds(min_recovery=0.9, max_increase=0.01, max_nll_increase=0.1)
    languages = {"en": language(0.1, 0.2), "de": language(), "zh": language(0.1, 0.105)}
    reasons = judge(languages, comparison(nll=0.2), limits)
    assert [reason.split(" ")[0] for reason in reasons] == ["en:", "en:", "the"]


def test_a_language_with_limits_of_its_own_is_judged_by_those():
    limits = Thresholds(min_recovery=0.9, languages={"zh": {"min_recovery": 0.5}})
    lossy = language(0.1, 0.15)
    assert judge({"zh": lossy}, SAME, limits) == []
    assert len(judge({"en": lossy, "zh": lossy}, SAME, limits)) == 1
    strict = Thresholds(**NO_LIMIT, languages={"zh": {"min_recovery": 0.9}})
    (reason,) = judge({"en": lossy, "zh": lossy}, SAME, strict)
    assert reason.startswith("zh: ")


# Scoring


def clip(name, text, language="en"):
    return Clip(Path(f"/nowhere/{name}"), text, language)


def hearing(*texts):
    return TranscribedSet(
        texts=list(texts),
        words=[[] for _ in texts],
        seconds=2.0,
        audio_seconds=8.0,
        kernels={"marlin": 4},
    )


def test_recordings_with_the_times_of_words_show_how_far_off_those_are():
    said = (TimedWord(0.0, 0.3, "keep"), TimedWord(0.4, 0.6, "watch"))
    known = replace(clip("1.wav", "keep watch"), words=said)
    near = hearing("keep watch").model_copy(
        update={"words": [[(0.0, 0.3, "Keep"), (0.42, 0.6, " watch.")]]}
    )
    far = hearing("keep watch").model_copy(
        update={"words": [[(0.2, 0.3, "keep"), (0.6, 0.8, "watch")]]}
    )
    proofs, _ = score([known], near, far)
    times = proofs["en"].word_times
    assert times["source"].median_ms == pytest.approx(10)
    assert times["candidate"].median_ms == pytest.approx(200)
    assert times["candidate"].words == 2


def test_recordings_without_the_times_of_words_show_none():
    proofs, _ = score(CLIPS[:1], hearing("keep a good watch"), hearing("keep a good watch"))
    assert proofs["en"].word_times == {}


CLIPS = [
    clip("1.wav", "keep a good watch"),
    clip("2.wav", "一二三四", "zh"),
    clip("3.wav", "wind from the east"),
    clip("4.wav", "五六七八", "zh"),
]


def test_languages_are_scored_apart_by_their_own_metric_and_sentences_keep_their_order():
    proofs, sentences = score(
        CLIPS,
        hearing("keep a good watch", "一二三四", "wind from the west", "五六七八"),
        hearing("keep a watch", "一二四", "wind from the west", "五六七八"),
    )
    assert list(proofs) == ["en", "zh"]
    assert (proofs["en"].metric, proofs["zh"].metric) == ("wer", "cer")
    assert set(proofs["en"].source) == {"wer", "cer"}
    assert set(proofs["zh"].source) == {"cer"}
    assert proofs["en"].source["wer"].value == pytest.approx(1 / 8)
    assert proofs["en"].candidate["wer"].value == pytest.approx(2 / 8)
    assert proofs["en"].increase == pytest.approx(1 / 8)
    assert proofs["en"].recovery.value == pytest.approx(1 / 2)
    assert proofs["zh"].source["cer"].value == 0
    assert proofs["zh"].candidate["cer"].value == pytest.approx(1 / 8)
    assert proofs["zh"].recovery.value == 0
    assert [one.recordings for one in proofs.values()] == [2, 2]
    assert [one.audio for one in sentences] == ["1.wav", "2.wav", "3.wav", "4.wav"]
    assert [one.source_errors for one in sentences] == [0, 0, 1, 0]
    assert [one.candidate_errors for one in sentences] == [1, 1, 1, 0]
    assert [one.units for one in sentences] == [4, 4, 4, 4]
    assert sentences[1].text == "一二三四"
    assert (sentences[1].source, sentences[1].candidate) == ("一二三四", "一二四")


def test_the_interval_holds_the_estimate_and_narrows_with_more_recordings():
    def recovery(times):
        source, candidate = ["a b c d", "a b c x"] * times, ["a b c x", "a b x x"] * times
        clips = [clip(f"{n}.wav", "a b c d") for n in range(len(source))]
        proofs, _ = score(clips, hearing(*source), hearing(*candidate))
        return proofs["en"].recovery

    few, many = recovery(4), recovery(100)
    for one in (few, many):
        assert one.low <= one.value <= one.high
        assert one.value == pytest.approx(1 / 3)
    assert many.high - many.low < few.high - few.low


def test_both_perfect_is_a_recovery_of_one():
    texts = [one.text for one in CLIPS]
    proofs, _ = score(CLIPS, hearing(*texts), hearing(*texts))
    assert {one.recovery.value for one in proofs.values()} == {1.0}
    assert judge(proofs, SAME, Thresholds(min_recovery=1, min_recovery_low=1)) == []


def test_a_candidate_that_hears_nothing_is_rejected():
    texts = [one.text for one in CLIPS]
    proofs, _ = score(CLIPS, hearing(*texts), hearing("", "", "", ""))
    assert [proofs[name].candidate[proofs[name].metric].value for name in proofs] == [1.0, 1.0]
    assert len(judge(proofs, SAME, Thresholds())) == 2


def test_style_is_no_error_and_traditional_is_simplified():
    clips = [clip("1.wav", "It is nine."), clip("2.wav", "語言", "zh")]
    proofs, _ = score(clips, hearing("it's 9", "语言"), hearing("IT IS NINE", "語言"))
    assert [one.candidate[one.metric].value for one in proofs.values()] == [0, 0]
    assert [one.source[one.metric].value for one in proofs.values()] == [0, 0]


def test_one_hearing_too_few_is_not_passed_over():
    with pytest.raises((ValueError, IndexError)):
        score(CLIPS, hearing(*["x"] * 4), hearing(*["x"] * 3))


def test_a_language_without_a_word_cannot_be_scored():
    with pytest.raises(ValueError, match="no words"):
        score([clip("1.wav", "?!")], hearing("a"), hearing("a"))


def test_the_real_time_factor_is_of_what_was_heard():
    assert hearing("x").rtfx == 4.0
