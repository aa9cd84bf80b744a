"""Error rates of transcripts: WER and CER of normalized text, with their uncertainty.

WER and CER are errors (substitutions, insertions, deletions: Levenshtein distance) over units of
the reference, summed over all recordings before dividing. English is normalized as the Whisper
paper does (appendix C); languages written without spaces are measured by characters, Chinese with
its two scripts folded into one.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from app.recordings.writing_systems import CHINESE, UNSPACED, simplified

Metric = Literal["wer", "cer"]

_RESAMPLES = 2000
_AT_ONCE = 2**20  # recordings drawn in one go: 8 MB an array
FEWEST = 30  # recordings of a language that an interval's end may be asked of
_CONFIDENCE = 0.95
_MOST_RECOVERY = 10.0


@dataclass(frozen=True)
class Pair:
    """A reference and its transcript, `heard`, in a language by its ISO code."""

    language: str
    reference: str
    heard: str


@dataclass(frozen=True)
class Counts:
    """Errors and units of the reference for each recording; shapes (recordings,)."""

    errors: NDArray[np.int64]
    units: NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def metrics_of(language: str) -> tuple[Metric, ...]:
    """Return the metrics of a language, the one that decides first."""
    return ("cer",) if language in UNSPACED else ("wer", "cer")


def count(pairs: Iterable[Pair], metric: Metric, *, fold_script: bool = True) -> Counts:
    """Count errors and units. `fold_script` takes Traditional and Simplified Chinese for the
    same."""
    rows = []
    for pair in pairs:
        said, heard = (
            _units(text, pair.language, metric, fold_script)
            for text in (pair.reference, pair.heard)
        )
        rows.append((Levenshtein.distance(said, heard), len(said)))
    errors, units = np.array(rows, np.int64).reshape(-1, 2).T
    return Counts(errors, units)


def rate(counts: Counts) -> Interval:
    """Return the errors a unit. Raises ValueError where the references hold nothing."""
    return mean(counts.errors, counts.units)


def mean(totals: NDArray[Any], units: NDArray[np.int64]) -> Interval:
    """Return a figure a unit (nats a token, say), where each recording has its total and its units,
    both of shape (recordings,). Raises ValueError where there are no units."""
    return _interval(_sampled([(totals, units)], lambda one: one))


def recovery(source: Counts, candidate: Counts) -> Interval:
    """Return the source's error rate by the candidate's: 1 where nothing is lost, as model cards of
    quantized checkpoints have it; 10 at most, since a candidate without errors would have it
    infinite.

    Both must be of the same recordings in the same order. The recordings are resampled together, so
    that their difficulty cancels. Raises ValueError as `rate` does.
    """
    both = [(counts.errors, counts.units) for counts in (source, candidate)]
    return _interval(_sampled(both, _kept))


def increase(source: Counts, candidate: Counts) -> Interval:
    """Return the candidate's error rate less the source's, of the same recordings, resampled as
    `recovery` does. Raises ValueError as `rate` does."""
    both = [(counts.errors, counts.units) for counts in (source, candidate)]
    return _interval(_sampled(both, lambda before, after: after - before))


def _kept(source: NDArray[np.float64], candidate: NDArray[np.float64]) -> NDArray[np.float64]:
    both_perfect = (source == 0) & (candidate == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(both_perfect, 1.0, np.minimum(source / candidate, _MOST_RECOVERY))


def _sampled(
    several: Sequence[tuple[NDArray[Any], NDArray[np.int64]]],
    combine: Callable[..., NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the statistic of all recordings, then of each bootstrap sample of them (Bisani and
    Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", 2004)."""
    number = len(several[0][1])
    if any(units.sum() == 0 for _, units in several):
        raise ValueError("the references hold no words")

    def found(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return combine(*(t[rows].sum(1) / np.maximum(u[rows].sum(1), 1) for t, u in several))

    random, samples = np.random.default_rng(0), max(1, _AT_ONCE // number)
    parts = [found(np.arange(number)[None])]
    for done in range(0, _RESAMPLES, samples):
        drawn = random.integers(number, size=(min(samples, _RESAMPLES - done), number))
        parts.append(found(drawn))
    return np.concatenate(parts)


def _interval(sampled: NDArray[np.float64]) -> Interval:
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(sampled[1:], [tail, 1 - tail])
    return Interval(float(sampled[0]), float(low), float(high))


def _units(text: str, language: str, metric: Metric, fold_script: bool) -> Sequence[str]:
    normal = normalized(text, language, fold_script=fold_script)
    return normal.split() if metric == "wer" else normal.replace(" ", "")


def normalized(text: str, language: str, *, fold_script: bool = True) -> str:
    """Remove from a text what is style and not recognition: case, punctuation, spelling of
    numbers."""
    text = unicodedata.normalize("NFKC", text)
    if language in CHINESE and fold_script:
        text = simplified(text)
    normal: str = _normalizer(language)(text)
    return normal


@cache
def _normalizer(language: str) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    if language == "en":
        english: Callable[[str], str] = EnglishTextNormalizer()
        return english
    basic: Callable[[str], str] = BasicTextNormalizer(split_letters=language in UNSPACED)
    return basic
