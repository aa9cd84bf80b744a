"""Scoring of two transcribed sets, and the verdict by the thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.quantization.proof import LanguageProof, Sentence, TranscribedSet
from app.quantization.request import Limits, Thresholds
from app.recordings.clip import Clip
from app.recordings.error_rates import FEWEST, Pair, count, metrics_of, rate, recovery
from app.recordings.word_times import TimedWord, WordTimes, start_errors, word_times


def score(
    clips: Sequence[Clip], source: TranscribedSet, candidate: TranscribedSet
) -> tuple[dict[str, LanguageProof], list[Sentence]]:
    """Score both transcribed sets against the words, by language and by recording."""
    languages: dict[str, list[int]] = {}
    for number, clip in enumerate(clips):
        languages.setdefault(clip.language, []).append(number)
    proofs: dict[str, LanguageProof] = {}
    sentences: dict[int, Sentence] = {}
    for language, numbers in sorted(languages.items()):
        said = [clips[n] for n in numbers]
        pairs = {
            which: [
                Pair(language, clip.text, hearing.texts[n])
                for n, clip in zip(numbers, said, strict=True)
            ]
            for which, hearing in (("source", source), ("candidate", candidate))
        }
        proof = _language_proof(language, pairs["source"], pairs["candidate"])
        times = {
            role: found
            for role, one in (("source", source), ("candidate", candidate))
            if (found := _word_times(clips, numbers, one))
        }
        proofs[language] = proof.model_copy(update={"word_times": times})
        sentences |= dict(zip(numbers, _sentences(said, pairs), strict=True))
    return proofs, [sentences[n] for n in range(len(clips))]


def _language_proof(
    language: str, source: Sequence[Pair], candidate: Sequence[Pair]
) -> LanguageProof:
    metrics = metrics_of(language)
    counts = {metric: (count(source, metric), count(candidate, metric)) for metric in metrics}
    judged = metrics[0]
    rates = {metric: (rate(s), rate(c)) for metric, (s, c) in counts.items()}
    before, after = rates[judged]
    return LanguageProof(
        recordings=len(source),
        metric=judged,
        source={metric: pair[0] for metric, pair in rates.items()},
        candidate={metric: pair[1] for metric, pair in rates.items()},
        recovery=recovery(*counts[judged]),
        increase=after.value - before.value,
    )


def _word_times(
    clips: Sequence[Clip], numbers: Sequence[int], heard: TranscribedSet
) -> WordTimes | None:
    """Measure the times of the words of some recordings; None where none has known ones."""
    errors, said = list[float](), 0
    for number in numbers:
        clip = clips[number]
        found = [TimedWord(*word) for word in heard.words[number]]
        errors += start_errors(clip.words, found, clip.language) if clip.words else []
        said += len(clip.words)
    return word_times(errors, said)


def _sentences(clips: Sequence[Clip], pairs: Mapping[str, list[Pair]]) -> list[Sentence]:
    judged = metrics_of(clips[0].language)[0]
    before, after = count(pairs["source"], judged), count(pairs["candidate"], judged)
    return [
        Sentence(
            audio=clip.name,
            language=clip.language,
            text=clip.text,
            source=pairs["source"][n].heard,
            candidate=pairs["candidate"][n].heard,
            source_errors=int(before.errors[n]),
            candidate_errors=int(after.errors[n]),
            units=int(before.units[n]),
        )
        for n, clip in enumerate(clips)
    ]


def judge(
    languages: Mapping[str, LanguageProof], comparison: Mapping[str, Any], thresholds: Thresholds
) -> list[str]:
    """Return in words which limits are exceeded; an empty list is a proven candidate."""
    reasons = []
    for name, one in languages.items():
        reasons += [f"{name}: {fault}" for fault in _over(one, thresholds.of(name))]
    overall = comparison["overall"]
    loss, most = overall["nll_difference"]["value"], thresholds.max_nll_increase
    if most is not None and loss > most:
        reasons.append(f"the loss grew by {loss:.4f} nats a token, over {most}")
    agreement, least = overall["token_agreement"]["value"], thresholds.min_token_agreement
    if least is not None and agreement < least:
        reasons.append(f"token agreement {agreement:.2%}, under {least:.2%}")
    return reasons


def _over(one: LanguageProof, limits: Limits) -> list[str]:
    kept, rate_ = one.recovery, one.candidate[one.metric].value
    metric, faults = one.metric.upper(), []
    if limits.min_recovery is not None and kept.value < limits.min_recovery:
        faults.append(f"recovery {kept.value:.1%}, under {limits.min_recovery:.1%}")
    if limits.min_recovery_low is not None and kept.low < limits.min_recovery_low:
        low = limits.min_recovery_low
        faults.append(f"recovery may be as low as {kept.low:.1%}, under {low:.1%}")
    if limits.max_increase is not None and one.increase > limits.max_increase:
        most = limits.max_increase
        faults.append(f"{metric} grew by {100 * one.increase:.2f} points, over {100 * most:.2f}")
    if limits.max_error_rate is not None and rate_ > limits.max_error_rate:
        faults.append(f"{metric} {rate_:.2%}, over {limits.max_error_rate:.2%}")
    return faults


def doubts(languages: Mapping[str, LanguageProof], thresholds: Thresholds) -> list[str]:
    """Why the verdict on a language says little, in words: it was judged by too few recordings, or
    others of its kind might have turned it."""
    found = {name: _doubt(one, thresholds.of(name)) for name, one in languages.items()}
    return [f"{name}: {doubt}" for name, doubt in found.items() if doubt]


def _doubt(one: LanguageProof, limits: Limits) -> str | None:
    kept, least = one.recovery, limits.min_recovery
    spread = f"recovery lies between {kept.low:.1%} and {kept.high:.1%}"
    if one.recordings < FEWEST:
        return (
            f"{one.recordings} of at least {FEWEST} recordings that a verdict needs; with so few, "
            f"one error may decide ({spread}, as far as they tell)"
        )
    if least is not None and kept.low < least <= kept.high:
        return f"{spread}, on both sides of the limit of {least:.1%}: more recordings would decide"
    return None
