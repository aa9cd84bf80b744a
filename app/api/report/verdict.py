"""The verdict of a proof, and what each language contributes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.api.report.provenance import rounded, sources
from app.api.report.wording import change, day, megabytes, number, percent, several
from app.checkpoints.recipe import Recipe
from app.quantization.proof import LanguageProof, Proof
from app.quantization.request import Limits, Thresholds


@dataclass(frozen=True)
class Head:
    """The head of a report. weight: before and after; facts: what the proof is of, each with its
    name."""

    proven: bool
    reasons: list[str]
    source: str
    recipe: str
    weight: str
    facts: list[tuple[str, str]]
    warnings: list[str]


@dataclass(frozen=True)
class Language:
    """One language's part. limits: in words; lowest: the recovery that is required; highest: the
    error rate that is allowed; reasons: why the language fails, empty where it passes."""

    code: str
    proof: LanguageProof
    limits: list[str]
    lowest: float | None
    highest: float | None
    reasons: list[str]


def head(job: Mapping[str, Any], proof: Proof) -> Head:
    before, after = (proof.weight_bytes.get(role) for role in ("source", "candidate"))
    return Head(
        proven=proof.passed,
        reasons=proof.reasons,
        source=job.get("source") or "its source",
        recipe=_label(job),
        weight=f"{megabytes(before)} → {megabytes(after)} ({change(before, after)})",
        facts=_facts(job, proof),
        warnings=_warnings(job, proof),
    )


def _label(job: Mapping[str, Any]) -> str:
    try:
        return Recipe.model_validate(job.get("recipe")).label
    except ValidationError:  # of another version
        return (job.get("checkpoint") or {}).get("scheme") or "unknown recipe"


def _facts(job: Mapping[str, Any], proof: Proof) -> list[tuple[str, str]]:
    counted = ", ".join(f"{one.recordings:,} {name}" for name, one in proof.languages.items())
    total = sum(one.recordings for one in proof.languages.values())
    facts = {
        "Heard": f"{several(total, 'recording')} ({counted})",
        "From": ", ".join(sources(job.get("proof_set"))),
        "Fingerprint": (job.get("checkpoint") or {}).get("fingerprint"),
        "Job": f"{job.get('id', '')}, {job.get('status', 'over')}",
    }
    for name, moment in (("Finished", "finished_at"), ("Promoted", "promoted_at")):
        facts[name] = day(job[moment]) if job.get(moment) else None
    return [(name, fact) for name, fact in facts.items() if fact]


def _warnings(job: Mapping[str, Any], proof: Proof) -> list[str]:
    warnings = [f"Uncertain: {note}." for note in proof.notes]
    if proof.emulated:
        warnings.append(
            "Emulated: the weights are written dequantized, to prove what nothing here serves. "
            "Bytes, speed and kernels are those of ordinary weights, and it is never promoted."
        )
    if names := rounded(proof):
        warnings.append(
            f"Rounded to nearest: {several(len(names), 'module')} whose Hessian GPTQ could not "
            "invert. Their names are under costs."
        )
    limits = [proof.thresholds.of(name) for name in proof.languages]
    if not any(in_words(one, "") for one in limits) and not overall_in_words(proof.thresholds):
        warnings.append("No limit was set: nothing could have rejected it.")
    if error := job.get("error"):
        warnings.append(f"Since then: {error.get('message', 'an error')}")
    return warnings


def languages(proof: Proof) -> list[Language]:
    return [_language(proof, name, one) for name, one in proof.languages.items()]


def _language(proof: Proof, name: str, one: LanguageProof) -> Language:
    limits, mark = proof.thresholds.of(name), f"{name}: "
    rates = [limits.max_error_rate]
    if limits.max_increase is not None:
        rates.append(one.source[one.metric].value + limits.max_increase)
    return Language(
        code=name,
        proof=one,
        limits=in_words(limits, one.metric.upper()),
        lowest=limits.min_recovery,
        highest=min((rate for rate in rates if rate is not None), default=None),
        reasons=[r.removeprefix(mark) for r in proof.reasons if r.startswith(mark)],
    )


def in_words(limits: Limits, metric: str) -> list[str]:
    said = {
        "recovery ≥ {}": limits.min_recovery,
        "recovery’s low end ≥ {}": limits.min_recovery_low,
        f"{metric} ≤ {{}}": limits.max_error_rate,
    }
    words = [text.format(percent(one, 1)) for text, one in said.items() if one is not None]
    if limits.max_increase is not None:
        words.append(f"{metric} grows ≤ {number(100 * limits.max_increase, 2)} points")
    return words


def overall_in_words(thresholds: Thresholds) -> list[str]:
    """Return the limits on all languages together, in words."""
    words = []
    if thresholds.max_nll_increase is not None:
        words.append(f"NLL grows ≤ {number(thresholds.max_nll_increase, 4)} nats a token")
    if thresholds.min_token_agreement is not None:
        words.append(f"token agreement ≥ {percent(thresholds.min_token_agreement)}")
    return words
