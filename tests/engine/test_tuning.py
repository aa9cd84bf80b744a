"""What a choice of bits is based on: vLLM's own layers are timed, and layers scored."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.encoder_vectors import gains
from app.quantization.quantizer_process import Quantizer
from app.recordings.spec import Recordings
from app.settings import Settings
from app.sources.source import Source
from app.tuning.groups import SCHEMES, groups_of
from app.tuning.losses import losses
from harness.server import DEMO
from tests.engine.conftest import KERNELS, RECORDINGS

SOURCE = Source("marine-radio", DEMO / "marine-radio", "")
GROUPS = [group.name for group in groups_of(SOURCE.config)]
EIGHT_BITS = {"ZentorchInt8ScaledMMLinearKernel", "CPUInt8ScaledMMLinearKernel"}


def test_layers_are_timed_on_the_kernels_that_vllm_chooses(monkeypatch):
    job = {"shapes": [[256, 256], [256, 0]], "schemes": SCHEMES, "rows": [1, 300], "rounds": 2}
    for name, value in forkserver.environment("cpu", "error").items():
        monkeypatch.setenv(name, value)
    answer = subprocess.run(
        [sys.executable, "-m", "app.models.whisper_vllm.linear_timing"],
        input=json.dumps(job), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(rows) == 2 * 2 * len(SCHEMES)
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)
    attention = {row["scheme"]: row["kernel"] for row in rows if not row["outputs"]}
    assert attention["W8A8"] == ("EightBitScores" if gains() else attention["none"])
    assert attention["W4A16 g32"] == attention["none"]
    kernels = {row["scheme"]: row["kernel"] for row in rows if row["outputs"]}
    assert kernels["none"] == "UnquantizedLinearMethod"
    assert kernels["W8A8"] in EIGHT_BITS
    assert {kernels["W4A16 g32"], kernels["W4A16 g128"]} <= KERNELS


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    recordings = Recordings(sources=str(RECORDINGS / "calibration"), samples=None)
    return {
        "folder": str(SOURCE.folder), "recordings": recordings.model_dump(mode="json"),
        "windows": 4, "schemes": SCHEMES, "assignments": 2, "referee": True,
        "done": str(tmp_path_factory.mktemp("scores") / "done.json"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def scored(job):
    settings = Settings()
    return Quantizer(settings.quantizer_python, settings.quantizer_overlay).score(
        job, lambda _: None
    )


def test_every_group_is_scored_under_every_scheme(scored):
    lossy = [scheme for scheme in SCHEMES if scheme != "none"]
    assert scored["scores"].keys() == {f"{name} {one}" for name in GROUPS for one in lossy}
    assert all(one["gradient"] >= 0 for one in scored["scores"].values())
    assert losses(scored).keys() == scored["scores"].keys()


@pytest.mark.parametrize("score", ["weight_error", "output_error", "fisher", "second_moments"])
def test_eight_bits_lose_less_than_four_by_every_score(scored, score):
    def total(scheme):
        return sum(scored["scores"][f"{name} {scheme}"][score] for name in GROUPS)

    assert total("W8A8") < total("W4A16 g32") < total("W4A16 g128")


def test_an_assignment_loses_something(scored):
    assert all(one["kl"] > 0 for one in scored["assignments"])


def test_what_was_measured_is_not_measured_again(job, scored):
    known = json.loads(Path(job["done"]).read_text("utf-8"))
    known["assignment 0"] = {"kl": 7.0, "nll": 7.0}
    Path(job["done"]).write_text(json.dumps(known), "utf-8")
    settings = Settings()
    again = Quantizer(settings.quantizer_python, settings.quantizer_overlay).score(
        job, lambda _: None
    )
    assert again["assignments"][0]["kl"] == 7.0
    assert again["scores"] == scored["scores"]
