"""What four bits keep of OpenAI's whisper-base: error rates beside the source's, by language.

    make bench-recovery

Every recipe is made and proven as a job would, on the bundled judge (synthetic neural voices) and
on the few recordings of real readers, none of which is calibrated on. Recovery is the source's
error rate by the candidate's; `points` is what the candidate adds to it. In brackets paired,
bootstrapped 95 % intervals.
"""

import asyncio
import logging
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.jobs import Job, JobReporter
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.quantization.proof import Proof, Sentence
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.recordings.error_rates import Counts, increase, metrics_of, rate, recovery
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.settings import Settings
from bench.options import parser

MODEL = "openai/whisper-base"
CALIBRATION = Recordings(sources=(str(DEMO / "recordings" / "voices" / "calibration"),))
JUDGES = {
    "neural voices": DEMO / "recordings" / "voices" / "judge",
    "readers": DEMO / "recordings" / "readers",
}
HEAD = (
    "| recipe | judged on | | recordings | bf16 | candidate | recovery | points |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def recipes() -> list[Recipe]:
    """The default first, then rounding, then what the cards of others' checkpoints name."""
    return [
        Recipe(calibration=CALIBRATION),
        Recipe(method="rtn"),
        Recipe(method="rtn", group_size=64),
        Recipe(method="rtn", group_size=32),
        Recipe(calibration=CALIBRATION, group_size=64),
        Recipe(calibration=CALIBRATION, group_size=32),
    ]


def rows(recipe: Recipe, judge: str, proof: Proof) -> Iterable[str]:
    """A row for each language, and one for all that are measured by words."""
    languages = sorted(proof.languages)
    for language in languages:
        metric = metrics_of(language)[0].upper()
        of = [one for one in proof.sentences if one.language == language]
        yield row(recipe, judge, f"{language}, {metric}", of)
    worded = {language for language in languages if "wer" in metrics_of(language)}
    if len(worded) > 1:
        of = [one for one in proof.sentences if one.language in worded]
        yield row(recipe, judge, f"{', '.join(sorted(worded))}, WER", of)


def row(recipe: Recipe, judge: str, what: str, sentences: Sequence[Sentence]) -> str:
    units = np.array([one.units for one in sentences])
    before = Counts(np.array([one.source_errors for one in sentences]), units)
    after = Counts(np.array([one.candidate_errors for one in sentences]), units)
    kept, added = recovery(before, after), increase(before, after)
    cells = [
        recipe.label,
        judge,
        what,
        str(len(sentences)),
        *(f"{rate(counts).value:.2%}" for counts in (before, after)),
        f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%})",
        f"{100 * added.value:+.2f} ({100 * added.low:+.2f} to {100 * added.high:+.2f})",
    ]
    return "| " + " | ".join(cells).replace("%", " %") + " |"


async def measure(settings: Settings, many: int, clips: int) -> None:
    loader = Loader(settings, pick_device(settings.device))
    for recipe in islice(recipes(), many):
        for judge, folder in JUDGES.items():
            judged = Recordings(sources=(str(folder),), samples=clips)
            order = QuantizationRequest(model=settings.model, recipe=recipe, proof=judged)
            reporter = JobReporter(Job("", {}, ""), lambda *_: None)
            _, proof = await run_job(order, loader, reporter)
            assert proof is not None
            for line in rows(recipe, judge, proof):
                print(line, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.recovery", __doc__, recipes=len(recipes()), clips=400)
    wanted.add_argument("--cache", type=Path, help="keep what is made and heard here")
    wanted.add_argument("--model", default=MODEL, help="the source (default: %(default)s)")
    asked = wanted.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache_dir=asked.cache or Path(folder), model=asked.model)
        device = pick_device(settings.device)
        forkserver.start(device, forkserver.environment(device, "warning"))
        print(HEAD)
        asyncio.run(measure(settings, asked.recipes, asked.clips))


if __name__ == "__main__":
    main()
