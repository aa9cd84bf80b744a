"""The provenance of a candidate: how it was made, and how it is made again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.api.report.wording import duration, megabytes, several
from app.quantization.proof import Proof


@dataclass(frozen=True)
class Calibration:
    """What the method learned from. texts: each with its language, where that is known."""

    recordings: int | None
    languages: str
    sources: list[str]
    texts: list[tuple[str, str]]


@dataclass(frozen=True)
class Redo:
    """What makes the candidate again. order: the request as JSON; job: its id."""

    order: str
    job: str


def sources(recordings: Mapping[str, Any] | None) -> list[str]:
    """Return where recordings came from, as a request names it."""
    given = (recordings or {}).get("sources") or []
    return [one["source"] if isinstance(one, Mapping) else str(one) for one in given]


def _figures(proof: Proof) -> Mapping[str, Any]:
    """Return the quantizer's figures."""
    return proof.run.get("making") or {}


def rounded(proof: Proof) -> list[str]:
    """Return the modules that were rounded to nearest because the method could not quantize
    them."""
    return list(_figures(proof).get("rounded_to_nearest") or [])


def making(proof: Proof) -> list[tuple[str, str]]:
    """What making and proving took."""
    made, compared, names = _figures(proof), proof.comparison, rounded(proof)
    modules = (made.get("quantized") or {}).items()
    said = {
        "Time to make": duration(made.get("seconds")),
        "Peak memory, making": megabytes(made.get("peak_rss_bytes")),
        "Peak memory of the card, making": _of_a_card(made),
        "Time to prove": duration(proof.run.get("proving_seconds")),
        "Peak memory, comparing": megabytes(compared.get("peak_rss_bytes")),
        "Peak memory of the card, comparing": _of_a_card(compared),
        "Quantized": ", ".join(f"{several(n, 'module')} to {scheme}" for scheme, n in modules),
        "Rounded to nearest": several(len(names), "module") if names else "",
    }
    return [(name, text) for name, text in said.items() if text]


def _of_a_card(figures: Mapping[str, Any]) -> str:
    """Return the figures of a card; empty where there was none."""
    peak = figures.get("peak_device_bytes")
    return megabytes(peak) if peak else ""


def calibration(job: Mapping[str, Any], proof: Proof) -> Calibration | None:
    """Return what the candidate was calibrated on; None where that is nothing, or unknown."""
    wanted = (job.get("recipe") or {}).get("calibration")
    heard = _figures(proof).get("calibration") or (job.get("checkpoint") or {}).get("calibration")
    if not wanted and not heard:
        return None
    heard = heard or {}
    counts = (heard.get("languages") or {}).items()
    return Calibration(
        recordings=heard.get("recordings"),
        languages=", ".join(f"{count} {name}" for name, count in counts),  # 128 en, 128 zh
        sources=sources(wanted),
        texts=[(one["language"], one["text"]) for one in heard.get("texts") or ()],
    )


def redo(job: Mapping[str, Any], proof: Proof) -> Redo:
    order = {
        "model": job.get("source"),
        "recipe": job.get("recipe"),
        "proof": job.get("proof_set"),
        "thresholds": proof.thresholds.model_dump(mode="json"),
        "promote": job.get("promote"),
    }
    given = {name: part for name, part in order.items() if part is not None}
    return Redo(json.dumps(given, indent=2, ensure_ascii=False), str(job.get("id", "")))
