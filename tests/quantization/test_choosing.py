"""A job whose order leaves the recipe to it: it measures, chooses, makes, proves and times."""

import pytest

from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store
from app.environment import DEMO_MODEL
from app.errors import BadRecipe
from app.jobs import Job, JobReporter
from app.quantization import choosing, settings_recipe
from app.quantization.measuring import Measurer
from app.quantization.proving import Prover
from app.quantization.quantizer_process import Quantizer
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.recordings.read import read
from app.settings import Settings
from app.tuning.choosing import tuned_apart
from app.tuning.tuning import tuned
from app.tuning.wish import Wish
from tests.quantization.fakes import proof, recordings
from tests.serving.fakes import FakeLoader
from tests.tuning.fakes import CONFIG, engine, findings
from tests.tuning.test_tuning import DEFAULTS, OPTIONS

pytestmark = pytest.mark.anyio


class Machine:
    """A device, a quantizer and a prover by script. did: what was asked of them, in order."""

    def __init__(self, folder):
        self.did, self.folder, self.found, self.made = [], folder, findings(), []
        self.candidate = (engine(), False)
        self.judged = recordings(folder / "proof", ("mayday", "en"))
        self.job, self.stages = Job("x", {}, "k"), []

    async def run(self, **recipe):
        """Do the job, from where an earlier run of it ended."""
        asked = {"scheme": "auto", "scenario": "latency"} | recipe
        request = QuantizationRequest.model_validate(
            {"model": str(DEMO_MODEL), "recipe": asked, "proof": {"sources": self.judged}}
        )
        loader = FakeLoader(Settings(cache_dir=self.folder / "cache", device="cpu"))

        def on_event(job, event):
            if event["type"] == "stage":
                self.stages.append(event["stage"])

        reporter = JobReporter(self.job, on_event)
        return await run_job(request, loader, reporter, known=self.job.facts)

    @property
    def choice(self):
        return self.job.facts["choice"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that measures, makes and proves at once."""
    machine = Machine(tmp_path)

    async def found(measurer, source, reporter, calibration=None):
        machine.did.append("findings")
        machine.scored_by = calibration
        return machine.found

    async def lost(measurer, source, several, reporter, calibration=None):
        machine.did.append("losses")
        return [0.01, 0.02]

    async def timed(measurer, checkpoint, source):
        machine.did.append("candidate")
        return machine.candidate

    def make(quantizer, folder, out, recipe, on_progress):
        machine.did.append("make")
        machine.made.append(recipe)
        (out / "model.safetensors").write_bytes(b"weights")
        (out / "config.json").write_bytes((DEMO_MODEL / "config.json").read_bytes())
        return {"seconds": 1.0}

    async def prove(prover, before, candidate, wanted, thresholds, found, reporter):
        machine.did.append("prove")
        return proof(*read(wanted))

    monkeypatch.setattr(choosing, "tuned_apart", tuned)
    monkeypatch.setattr(Quantizer, "versions", lambda _: {"llmcompressor": "1"})
    monkeypatch.setattr(Quantizer, "make", make)
    monkeypatch.setattr(Measurer, "findings", found)
    monkeypatch.setattr(Measurer, "losses", lost)
    monkeypatch.setattr(Measurer, "candidate", timed)
    monkeypatch.setattr(Prover, "prove", prove)
    return machine


async def test_what_is_chosen_is_made_proven_and_timed(machine):
    candidate, proven = await machine.run()
    assert machine.did == ["findings", "losses", "make", "prove", "candidate"]
    assert (machine.made[0].scheme, machine.made[0].method) == ("W8A8", "rtn")
    assert proven.passed
    assert machine.job.facts["checkpoint"]["fingerprint"] == candidate.fingerprint
    assert machine.stages == ["resolving", "choosing", "quantizing", "timing the candidate"]


async def test_the_embedding_is_as_in_the_default_recipe(machine, monkeypatch):
    await machine.run()
    assert machine.made[0].schemes["embedding"] == "none"
    monkeypatch.setattr(settings_recipe, "_SMALL", {CONFIG["d_model"]})
    machine.job = Job("y", {}, "k")
    await machine.run()
    assert machine.made[1].components == {"embedding": "W8A8"}


async def test_the_record_says_what_was_predicted_and_what_it_took(machine):
    await machine.run(clip_seconds=20)
    assert machine.choice["clip"] == {"at_once": 1, "tokens": 100}
    source, predicted, candidate = (
        machine.choice["seconds"][name] for name in ("source", "predicted", "candidate")
    )
    assert source == {"encoder": 0.1, "step": 0.03, "clip": pytest.approx(3.1)}
    assert predicted["step"] < source["step"]
    assert candidate == source  # the machine takes as long for everything
    assert machine.choice["measured_loss"] == {"chosen": 0.01, "default": 0.02}
    assert "does a choice by layer beat" in machine.choice["verdict"]
    assert machine.choice["recipe"]["tuned"]["clip_seconds"] == 20


async def test_what_was_chosen_is_not_measured_again_when_the_job_is_resumed(machine):
    await machine.run()
    machine.did.clear()
    await machine.run()
    assert machine.did == ["prove"]  # which keeps what it heard by itself


async def test_a_job_that_ended_before_its_candidate_was_timed_does_the_rest(machine):
    await machine.run()
    del machine.choice["seconds"]["candidate"]
    machine.did.clear()
    await machine.run()
    assert machine.did == ["prove", "candidate"]


async def test_on_another_device_it_is_chosen_again(machine):
    await machine.run()
    machine.choice["recipe"]["tuned"]["device"] = "0" * 16
    machine.did.clear()
    await machine.run()
    assert machine.did[0] == "findings"


async def test_a_choice_that_another_version_kept_is_made_again(machine):
    machine.job.facts["choice"] = {"recipe": {"tuned": {"device": "here"}}}
    await machine.run()
    assert machine.did[0] == "findings"


async def test_what_varies_and_what_was_disturbed_is_told(machine):
    machine.found = findings(disturbed=["the engine"])
    machine.candidate = (engine(spread=0.31), True)
    await machine.run()
    told = " ".join(machine.choice["doubts"])
    assert "timed while requests were answered" in told
    assert "not kept: the engine" in told
    assert "varies from round to round, also when measured again: the candidate: 31%" in told
    assert "not kept: the candidate" in told


async def test_a_budget_that_nothing_fits_fails_with_the_least_that_would(machine):
    with pytest.raises(BadRecipe, match="the least that would do is"):
        await machine.run(most_seconds=1e-6)
    assert machine.did == ["findings"]


async def test_losses_are_scored_by_what_is_calibrated_on(machine):
    mine = {"sources": machine.judged, "samples": 1}
    await machine.run(calibration=mine, scenario="memory", most_loss=9)
    assert machine.scored_by.sources[0].source == machine.judged
    assert machine.made[0].method == "gptq"
    assert machine.made[0].calibration == machine.scored_by


async def test_a_choice_that_is_the_default_is_the_same_checkpoint(machine, tmp_path):
    """What a start has made already is not made again."""
    candidate, _ = await machine.run(calibration={"sources": machine.judged})
    asked = machine.made[0].model_copy(update={"tuned": None})
    assert asked == Recipe(method="rtn", scheme="W8A8")
    request = QuantizationRequest.model_validate(
        {"model": str(DEMO_MODEL), "recipe": asked, "proof": {"sources": machine.judged}}
    )
    loader = FakeLoader(Settings(cache_dir=machine.folder / "cache", device="cpu"))
    again, _ = await run_job(request, loader, JobReporter(Job("y", {}, "k"), lambda *_: None))
    assert again.fingerprint == candidate.fingerprint
    assert Store(machine.folder / "cache").has(again.fingerprint)
    assert len(machine.made) == 1


def test_the_process_that_chooses_says_the_same():
    wish = Wish("latency", most_bytes=15.0, most_loss=1.0)
    assert tuned_apart(wish, OPTIONS, DEFAULTS) == tuned(wish, OPTIONS, DEFAULTS)


def test_the_process_that_chooses_says_why_nothing_fits():
    with pytest.raises(BadRecipe, match="contradict") as caught:
        tuned_apart(Wish("latency", most_bytes=14.1, most_loss=1.0), OPTIONS, DEFAULTS)
    assert caught.value.advice == "Allow more, or leave a limit out."
