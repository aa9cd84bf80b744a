"""What is timed is kept, unless others used the device meanwhile."""

import pytest

from app.environment import DEMO, DEMO_MODEL
from app.jobs import Job, JobReporter
from app.quantization.builder import CheckpointBuilder
from app.quantization.measuring import Measurer
from app.quantization.settings_recipe import bundled_recordings
from app.settings import Settings
from app.sources.source import Source
from app.tuning.groups import SCHEMES, Group
from app.tuning.linear_times import ROWS, LayerTimer
from tests.serving.fakes import FakeLoader
from tests.tuning.fakes import engine

pytestmark = pytest.mark.anyio

GROUPS = [Group("encoder.layers.0.fc1", 64, 128, once=True)]
SOURCE = Source("demo", DEMO_MODEL, "")
ROW = {"inputs": 64, "outputs": 128, "seconds": [1.0, 1.0, 1.0], "kernel": "Kernel"}


class Device:
    """Counts what is `timed`. `used` says, of each timing, whether others used it meanwhile."""

    def __init__(self, cache, monkeypatch):
        self.timed, self.used, self.cache = [], [], cache

        def rows(timer, groups, dtype, told):
            self.timed.append("layers")
            told(1, 2)
            return [ROW | {"scheme": one, "rows": n} for one in SCHEMES for n in ROWS]

        async def whole(measurer, checkpoint, source):
            self.timed.append(checkpoint.source.name)
            return engine()

        monkeypatch.setattr(LayerTimer, "rows", rows)
        monkeypatch.setattr(Measurer, "engine", whole)

    def measurer(self):
        """A process that measures."""
        settings = Settings(cache_dir=self.cache, device="cpu")
        return Measurer(
            FakeLoader(settings), CheckpointBuilder(settings), lambda _: self.used.pop(0)
        )


@pytest.fixture
def device(tmp_path, monkeypatch):
    return Device(tmp_path, monkeypatch)


async def test_what_nobody_disturbed_is_kept(device):
    device.used += [False]
    first, disturbed = await device.measurer().layers(GROUPS)
    again, _ = await device.measurer().layers(GROUPS)
    assert again.all == first.all
    assert (device.timed, disturbed) == (["layers"], False)


async def test_what_others_disturbed_is_timed_again_and_then_kept(device):
    device.used += [True, False]
    _, disturbed = await device.measurer().layers(GROUPS)
    await device.measurer().layers(GROUPS)
    assert (device.timed, disturbed) == (["layers"] * 2, False)


async def test_what_others_disturb_twice_is_told_and_not_kept(device):
    device.used += [True, True, False]
    _, disturbed = await device.measurer().layers(GROUPS)
    assert disturbed
    await device.measurer().layers(GROUPS)
    assert len(device.timed) == 3


async def test_the_engines_times_are_the_same_from_the_cache(device):
    device.used += [False]
    first, _ = await device.measurer().whole(SOURCE)
    again, _ = await device.measurer().whole(SOURCE)
    assert first == again == engine()
    assert device.timed == ["demo"]


async def test_a_job_is_told_how_far_the_timing_is(device):
    device.used += [False]
    job = Job("x", {}, "k")
    told = []
    reporter = JobReporter(job, lambda _, event: told.append(event))

    async def scores(source, calibration, reporter):
        return {"scores": {}, "assignments": []}

    measurer = device.measurer()
    measurer._scores = scores
    device.used += [True, True]
    found = await measurer.findings(SOURCE, reporter)
    stages = [event["stage"] for event in told if event["type"] == "stage"]
    assert stages == ["timing the layers", "timing the engine"]
    assert (told[1]["done"], told[1]["total"]) == (1, 2)
    assert told[1]["eta_seconds"] >= 0
    assert found.disturbed == ("the engine",)
    assert "timed while requests were answered" in found.doubts[0]


def test_speech_to_time_by_is_the_bundled_one_whatever_is_calibrated_on():
    (one,) = bundled_recordings(SOURCE).sources
    assert one.source == str(DEMO / "recordings" / "calibration")
