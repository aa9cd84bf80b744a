"""Figures of a proof beside error rates: teacher forcing, layers, costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.api.report.verdict import overall_in_words
from app.api.report.wording import change, megabytes, number, several
from app.quantization.proof import Proof


@dataclass(frozen=True)
class Range:
    """An estimate with its 95 % confidence interval, as far as there is one."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forcing:
    """Teacher forcing in one language, or in all languages where `code` is empty."""

    code: str
    clips: int | None
    tokens: int | None
    source_nll: float | None
    candidate_nll: float | None
    difference: Range
    agreement: Range


@dataclass(frozen=True)
class Forced:
    """Teacher forcing of a whole proof. limits: on all languages together, in words; reasons: those
    that do not hold."""

    rows: list[Forcing]
    limits: list[str]
    reasons: list[str]


@dataclass(frozen=True)
class Layer:
    """The relative errors of one layer's output: in the whole candidate, and with the source's
    input; loss: what the method reported."""

    number: str
    error: float
    own: float | None
    loss: float | None


@dataclass(frozen=True)
class Cost:
    name: str
    source: str
    candidate: str
    change: str = ""


def forced(proof: Proof) -> Forced:
    found = proof.comparison.get("languages") or {}
    rows = [_forcing(name, one) for name, one in found.items()]
    if overall := proof.comparison.get("overall"):
        rows.append(_forcing("", {**proof.comparison, **overall}))
    of_one = tuple(f"{name}: " for name in proof.languages)
    reasons = [reason for reason in proof.reasons if not reason.startswith(of_one)]
    return Forced(rows, overall_in_words(proof.thresholds), reasons)


def _forcing(code: str, given: Mapping[str, Any]) -> Forcing:
    return Forcing(
        code=code,
        clips=given.get("clips"),
        tokens=given.get("tokens"),
        source_nll=given.get("source_nll"),
        candidate_nll=given.get("candidate_nll"),
        difference=_range(given.get("nll_difference")),
        agreement=_range(given.get("token_agreement")),
    )


def _range(given: Mapping[str, Any] | None) -> Range:
    ends = given or {}
    return Range(ends.get("value"), ends.get("low"), ends.get("high"))


def stacks(proof: Proof) -> dict[str, list[Layer]]:
    """Return encoder and decoder, each with its layers in order."""
    losses = (proof.run.get("making") or {}).get("losses") or {}
    found: dict[str, list[Layer]] = {}
    for one in proof.comparison.get("layers") or []:
        name, error = str(one.get("name", "")), _finite(one.get("relative_error"))
        stack, _, number_ = name.rpartition(".")
        if error is not None:
            own, loss = _finite(one.get("own_relative_error")), _finite(losses.get(name))
            found.setdefault(stack or "layers", []).append(Layer(number_, error, own, loss))
    return found


def _finite(value: Any) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else None


def costs(proof: Proof) -> list[Cost]:
    rows = []
    for name, sizes in (
        ("Weight files", proof.weight_bytes),
        ("Weights read per token", proof.weight_bytes_per_token),
    ):
        before, after = sizes.get("source"), sizes.get("candidate")
        rows.append(Cost(name, megabytes(before), megabytes(after), change(before, after)))
    slow, fast = proof.rtfx.get("source"), proof.rtfx.get("candidate")
    rows.append(Cost("RTFx", number(slow, 2), number(fast, 2), change(slow, fast)))
    source, candidate = (_kernels(proof.kernels.get(r) or {}) for r in ("source", "candidate"))
    return [*rows, Cost("Kernels", source, candidate)]


def _kernels(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({several(layers, 'layer')})" for name, layers in found.items())
