"""What quantized weights keep of OpenAI's whisper-base: error rates beside the source's.

    make bench-recovery

The source, and what each recipe makes of it, transcribe the bundled judge (synthetic neural voices)
and the few recordings of real readers, none of which is calibrated on, by the policy that serves.
Recovery is the source's error rate by the candidate's; `points` is what the candidate adds to it.
In brackets paired, bootstrapped 95 % intervals.
"""

import asyncio
import logging
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from app.audio.decoding import InThisProcess
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.jobs import Job, JobReporter
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.quantization.acceptance import score
from app.quantization.builder import CheckpointBuilder
from app.quantization.proof import Sentence, TranscribedSet
from app.quantization.proving import transcribe_set
from app.quantization.settings_recipe import settings_recipe
from app.recordings.error_rates import Counts, increase, metrics_of, rate, recovery
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source
from app.speech.cutting import Cutting
from bench.options import parser

MODEL = "openai/whisper-base"
JUDGES = {
    "neural voices": DEMO / "recordings" / "voices" / "judge",
    "readers": DEMO / "recordings" / "readers",
}
HEAD = (
    "| recipe | made in s | judged on | | recordings | source | candidate | recovery | points "
    "| RTFx |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
_ONE_BY_ONE = 4  # windows at once, as in a proof


def recipes(settings: Settings, source: Source) -> Iterator[Recipe]:
    """The default first, 8 bits throughout, 4 throughout, and what others' model cards name."""
    default = settings_recipe(settings, source, pick_device(settings.device))
    yield default
    yield Recipe(method="rtn", scheme="W8A8")
    yield Recipe(calibration=default.calibration)
    yield Recipe(method="awq", calibration=default.calibration)
    yield Recipe(method="rtn")
    yield Recipe(calibration=default.calibration, group_size=64)
    yield Recipe(calibration=default.calibration, observer="imatrix")


class Bench:
    """Transcribes every judge with each checkpoint, and prints a table as it goes."""

    def __init__(self, settings: Settings, clips: int) -> None:
        self._loader = Loader(settings, pick_device(settings.device))
        self.judges = {
            name: read(Recordings(sources=(str(folder),), samples=clips))
            for name, folder in JUDGES.items()
        }

    async def run(self, source: Source, wanted: Sequence[Recipe]) -> None:
        maker = CheckpointBuilder(self._loader.settings)
        before = await self.transcribed(Checkpoint(source, source.folder))
        for recipe in wanted:
            entry = await asyncio.to_thread(maker.make, source, recipe, lambda _: None)
            after = await self.transcribed(Checkpoint.of(entry))
            told = f"| {recipe.label} | {entry.manifest['figures']['seconds']:.0f}"
            for name, clips in self.judges.items():
                _, sentences = score(clips, before[name], after[name])
                pace = f"{after[name].rtfx:.1f} ({after[name].rtfx / before[name].rtfx:.2f})"
                for line in rows(sentences):
                    print(f"{told} | {name} | {line} | {pace} |", flush=True)

    async def transcribed(self, checkpoint: Checkpoint) -> dict[str, TranscribedSet]:
        """Return what a checkpoint makes of each judge."""
        model = await self._loader.load(
            checkpoint, None, windows=_ONE_BY_ONE, patient=True, is_whole=True
        )
        cutting = Cutting.of(self._loader.settings)
        reporter, here = JobReporter(Job("", {}, ""), lambda *_: None), InThisProcess()
        try:
            return {
                name: await transcribe_set(model, clips, reporter, here, cutting=cutting)
                for name, clips in self.judges.items()
            }
        finally:
            await asyncio.to_thread(model.loaded.engine.stop)


def rows(sentences: Sequence[Sentence]) -> Iterator[str]:
    """A row for each language, and one for all that are measured by words."""
    languages = sorted({one.language for one in sentences})
    for language in languages:
        metric = metrics_of(language)[0].upper()
        yield row(f"{language}, {metric}", [one for one in sentences if one.language == language])
    worded = {language for language in languages if "wer" in metrics_of(language)}
    if len(worded) > 1:
        several = [one for one in sentences if one.language in worded]
        yield row(f"{', '.join(sorted(worded))}, WER", several)


def row(what: str, sentences: Sequence[Sentence]) -> str:
    units = np.array([one.units for one in sentences])
    before = Counts(np.array([one.source_errors for one in sentences]), units)
    after = Counts(np.array([one.candidate_errors for one in sentences]), units)
    kept, added = recovery(before, after), increase(before, after)
    cells = [
        what,
        str(len(sentences)),
        *(f"{rate(counts).value:.2%}" for counts in (before, after)),
        f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%})",
        f"{100 * added.value:+.2f} ({100 * added.low:+.2f} to {100 * added.high:+.2f})",
    ]
    return " | ".join(cells).replace("%", " %")


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.recovery", __doc__, recipes=7, clips=400)
    wanted.add_argument("--cache", type=Path, help="keep what is made here")
    wanted.add_argument("--model", default=MODEL, help="the source (default: %(default)s)")
    asked = wanted.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache_dir=asked.cache or Path(folder), model=asked.model)
        device = pick_device(settings.device)
        forkserver.start(device, forkserver.environment(device, "warning"))
        source = resolve(settings.model, settings.cache_dir)
        print(HEAD)
        chosen = list(islice(recipes(settings, source), asked.recipes))
        asyncio.run(Bench(settings, asked.clips).run(source, chosen))


if __name__ == "__main__":
    main()
