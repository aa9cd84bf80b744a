"""Error rates: what counts as an error, by language, and how sure a figure is."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recordings import error_rates
from app.recordings.error_rates import (
    Counts,
    Interval,
    Pair,
    count,
    mean,
    metrics_of,
    rate,
    recovery,
)


def errors(language, reference, heard, metric="cer", **options):
    counts = count([Pair(language, reference, heard)], metric, **options)
    return int(counts.errors[0]), int(counts.units[0])


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("We need a tow.", "we need a tow", 0),  # case and punctuation
        ("The harbour's colour", "the harbor's color", 0),  # American spelling is the same word
        ("twenty-one people", "21 people", 0),
        ("We can't", "We can not", 0),
        ("We need a tow", "We need tow", 1),
        ("We need a tow", "We need a big tow", 1),
        ("We need a tow", "", 4),
    ],
)
def test_english_is_judged_by_what_was_said_and_not_by_style(reference, heard, expected):
    assert errors("en", reference, heard, "wer")[0] == expected


def test_chinese_is_judged_by_characters():
    assert errors("zh", "船上失火，請派救生艇。", "船上失火請派直升艇") == (2, 9)
    assert metrics_of("zh") == ("cer",)
    assert metrics_of("en") == ("wer", "cer")


def test_the_script_is_folded_or_counted_as_asked():
    assert errors("zh", "這裡進水", "这里进水")[0] == 0
    assert errors("zh", "這裡進水", "这里进水", fold_script=False)[0] == 3
    assert errors("zh", "１２０", "120")[0] == 0  # width is style


def test_rates_are_of_sums_and_not_means_of_rates():
    pairs = [Pair("en", "one", "two"), Pair("en", "we are taking on water", "we are sinking")]
    counts = count(pairs, "wer")
    assert rate(counts).value == pytest.approx(counts.errors.sum() / 6)


def test_invented_words_where_nothing_is_said_count():
    counts = count([Pair("en", "", "thank you"), Pair("en", "mayday", "mayday")], "wer")
    assert rate(counts).value == 2.0


def test_references_without_words_give_no_rate():
    with pytest.raises(ValueError, match="no words"):
        rate(count([Pair("en", "!?", "a")], "wer"))
    with pytest.raises(ValueError, match="no words"):
        rate(count([], "wer"))


def made(rates, units=20):
    return Counts(np.array([round(r * units) for r in rates]), np.full(len(rates), units))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Recordings of 20 words, each word wrong with probability 0.1, 200 times over."""
    random, held = np.random.default_rng(1), 0
    for _ in range(200):
        found = rate(Counts(random.binomial(20, 0.1, 100), np.full(100, 20)))
        held += found.low <= 0.1 <= found.high
    assert 180 <= held <= 199


def test_drawn_bit_by_bit_the_interval_is_the_same(monkeypatch):
    random = np.random.default_rng(4)
    some = Counts(random.binomial(20, 0.1, 333), np.full(333, 20))
    at_once = rate(some)
    for bound in (1, 1000, 333 * 7):
        monkeypatch.setattr(error_rates, "_AT_ONCE", bound)
        assert rate(some) == at_once


def test_very_many_recordings_take_little_memory():
    many = Counts(np.full(50_000, 2), np.full(50_000, 20))
    tracemalloc.start()
    try:
        rate(many)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6


def test_a_mean_is_a_units_and_its_interval_tightens_with_recordings():
    """Recordings of 10 tokens, each token of -0.2 nats and a deviation of 1."""
    random = np.random.default_rng(3)
    tokens = np.full(400, 10)
    totals = random.normal(-2, 10**0.5, 400)
    few, many = mean(totals[:25], tokens[:25]), mean(totals, tokens)
    assert many.value == pytest.approx(totals.sum() / 4000)
    assert many.low < -0.2 < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 4000**0.5, rel=0.1)
    assert few.high - few.low > 3 * (many.high - many.low)
    assert mean(np.zeros(3), np.array([1, 2, 3])) == Interval(0, 0, 0)


def test_recovery_is_one_where_nothing_is_lost():
    same = made([0.1, 0.0, 0.3])
    assert recovery(same, same).value == 1.0
    assert recovery(made([0, 0]), made([0, 0])).value == 1.0
    assert recovery(made([0.05] * 9), made([0.1] * 9)).value == pytest.approx(0.5)
    assert recovery(made([0, 0]), made([0.1, 0])).value == 0.0


def test_recovery_is_surer_than_its_parts_where_hard_recordings_are_hard_for_both():
    random = np.random.default_rng(2)
    source = Counts(random.binomial(50, random.beta(1, 4, 80)), np.full(80, 50))
    candidate = Counts(source.errors + random.binomial(2, 0.5, 80), source.units)
    paired = recovery(source, candidate)
    apart = rate(candidate).high / rate(source).low - rate(candidate).low / rate(source).high
    assert paired.high - paired.low < apart / 3


@given(st.text("船上失火請派救生艇 ,。abc", max_size=20), st.sampled_from(["zh", "en", "ja", "fr"]))
def test_whatever_is_heard_right_has_no_errors(text, language):
    assert errors(language, text, text)[0] == 0
