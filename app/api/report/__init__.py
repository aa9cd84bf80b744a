"""The report of a proof: one HTML document without external parts, to read or to print."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.api.report import bits, choice, figures, plots, provenance, sentences, verdict, wording
from app.quantization.proof import Proof


def page(job: Mapping[str, Any], proof: Proof, address: str) -> str:
    """`job` is its body, as GET /quantize/{id} has it; `address` is where the service is asked.
    What is missing there, or among the proof's free-form figures, is left out."""
    languages, stacks = verdict.languages(proof), figures.stacks(proof)
    chosen = choice.choice(job)
    return (
        _environment()
        .get_template("page.html")
        .render(
            head=verdict.head(job, proof),
            languages=languages,
            error_rates=plots.error_rates(languages),
            recoveries=plots.recoveries(languages),
            forced=figures.forced(proof),
            bits=bits.stacks(proof, chosen=chosen is not None),
            choice=chosen,
            stacks=stacks,
            layer_plots=plots.layers(stacks),
            layers_clips=proof.comparison.get("layers_clips"),
            costs=figures.costs(proof),
            making=provenance.making(proof),
            rounded=provenance.rounded(proof),
            calibration=provenance.calibration(job, proof),
            cases=sentences.cases(proof),
            redo=provenance.redo(job, proof),
            address=address,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # transcripts and file names are anybody's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= wording.FILTERS | {"draws": plots.draws}
    return environment
