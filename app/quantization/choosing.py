"""The choice of a recipe by layer: what `marlinscribe tune` prints, and what a job makes where its
order leaves the recipe to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.jobs import JobReporter
from app.process import in_daemon_thread
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.measuring import Measurer
from app.quantization.settings_recipe import settings_fields, settings_recipe
from app.settings import Settings
from app.sources.source import Source
from app.tuning.choosing import tuned_apart
from app.tuning.cost import EngineTimes
from app.tuning.engine_times import Measured
from app.tuning.findings import Findings, disturbed, varied
from app.tuning.options import REST, options_of
from app.tuning.recipe import recipe_of, schemes_of
from app.tuning.wish import DEFAULT, Tuning, Wish


@dataclass(frozen=True)
class Choice:
    """Bits by layer, chosen. lost: what the choice and the default in four bits were measured to
    lose, rounded to nearest, in nats a token."""

    tuning: Tuning
    findings: Findings
    lost: tuple[float, float]
    recipe: Recipe

    def facts(self) -> dict[str, Any]:
        """Return what a job's record keeps of it: plain JSON, with seconds of the scenario."""
        cost = self.findings.cost(self.tuning.wish.clip_seconds)
        predicted = cost.engine_times(self.tuning.schemes)
        clip = {"at_once": self.tuning.wish.at_once, "tokens": cost.tokens}
        chosen, default = self.lost
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "verdict": self.tuning.verdict,
            "doubts": self.findings.doubts,
            "measured_loss": {"chosen": chosen, "default": default},
            "clip": clip,
            "seconds": {
                "source": clip_times(clip, self.findings.whole.times),
                "predicted": clip_times(clip, predicted),
            },
        }


def clip_times(clip: Mapping[str, Any], times: EngineTimes) -> dict[str, float]:
    """Return the seconds of an encoder's pass, a decoder's step, and a whole clip: of so many
    tokens, where so many are decoded at once."""
    step = times.step[clip["at_once"]]
    whole = times.encoder + clip["tokens"] * step / clip["at_once"]
    return {"encoder": times.encoder, "step": step, "clip": whole}


async def choose(
    asked: AutoRecipe, source: Source, measurer: Measurer, reporter: JobReporter
) -> Choice:
    """Measure what is not known, choose, and measure what the choice loses. Raises StartupError,
    BadField, EngineDied."""
    wish = asked.wish(source.config)
    findings = await measurer.findings(source, reporter, asked.calibration)
    reporter.stage("choosing")
    found = await in_daemon_thread(_tuned, wish, findings, source, measurer)
    recipe = _embedded_as_usual(recipe_of(found, findings), source, measurer)
    if recipe.method != "rtn":
        recipe = recipe.model_copy(update={"calibration": asked.calibration})
    defaults = {name: one for name, one in found.uniform[DEFAULT].schemes.items() if name != REST}
    several = [found.schemes, defaults]
    chosen, default = await measurer.losses(source, several, reporter, asked.calibration)
    return Choice(found, findings, (chosen, default), recipe)


def _tuned(wish: Wish, findings: Findings, source: Source, measurer: Measurer) -> Tuning:
    """Choose by what was measured. Raises BadRecipe where nothing fits."""
    cost = findings.cost(wish.clip_seconds)
    options = options_of(findings.groups, cost, findings.losses, source.config, wish.at_once)
    device, usual = measurer.loader.device, _left_open(measurer.settings)
    four = settings_fields(usual, source, device, in_four_bits=True)
    default = settings_recipe(usual, source, device, **four)
    return tuned_apart(wish, options, schemes_of(default, source.config))


def _embedded_as_usual(recipe: Recipe, source: Source, measurer: Measurer) -> Recipe:
    """Return the recipe with the embedding that the default recipe has, for that is not chosen."""
    fields = settings_fields(_left_open(measurer.settings), source, measurer.loader.device)
    own = {name: one for name, one in fields["components"].items() if name == "embedding"}
    return recipe.model_copy(update={"components": {**recipe.components, **own}})


def _left_open(settings: Settings) -> Settings:
    """Return settings that leave the recipe to the service."""
    return settings.model_copy(update={"quantization": "auto", "group_size": "auto"})


async def timed(
    facts: Mapping[str, Any],
    candidate: Checkpoint,
    source: Source,
    measurer: Measurer,
    reporter: JobReporter,
) -> dict[str, Any]:
    """Return a choice's facts with what the candidate's engine takes, timed now. Raises
    StartupError, EngineDied."""
    reporter.stage("timing the candidate")
    found, is_disturbed = await measurer.candidate(candidate, source)
    seconds = facts["seconds"] | {"candidate": clip_times(facts["clip"], found.times)}
    return {
        **facts,
        "seconds": seconds,
        "doubts": [*facts["doubts"], *_doubts(found, is_disturbed)],
    }


def _doubts(found: Measured, is_disturbed: bool) -> list[str]:
    varies = [varied(f"the candidate: {found.spread:.0%}")] if found.unsteady else []
    return varies + ([disturbed("the candidate")] if is_disturbed else [])
