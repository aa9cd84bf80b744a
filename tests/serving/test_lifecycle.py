import time

from app.errors import DiskFull
from app.serving.lifecycle import Lifecycle, Stage, Status


def test_listeners_hear_the_present_and_every_stage_after():
    startup, heard = Lifecycle(), []
    startup.listen(lambda status: heard.append(status.stage))
    startup.enter(Stage.QUANTIZING)
    startup.enter(Stage.READY)
    assert heard == [Stage.RESOLVING, Stage.QUANTIZING, Stage.READY]


def test_progress_is_shown_in_layers_with_an_estimate():
    body = Status(Stage.QUANTIZING, "mine", done=3, total=64, eta_seconds=91.4).body()
    assert body == {
        "status": "quantizing",
        "detail": "mine",
        "progress": {"done": 3, "total": 64, "eta_seconds": 91},
    }


def test_a_client_is_told_to_wait_as_long_as_it_will_take_within_reason():
    assert Status(Stage.QUANTIZING, eta_seconds=31.4).retry_after == 32
    assert Status(Stage.QUANTIZING, eta_seconds=9e5).retry_after == 60
    assert Status(Stage.QUANTIZING, eta_seconds=0.01).retry_after == 1
    assert Status(Stage.LOADING).retry_after == 10


def test_a_failure_gives_its_reason_and_what_to_do():
    body = Status(Stage.FAILED, error=DiskFull("The disk is full.", "Free space.")).body()
    assert body["reason"] == "The disk is full."
    assert body["advice"] == "Free space."
    assert body["code"] == "disk_full"


def test_an_estimate_runs_down_while_the_stage_lasts():
    status = Status(Stage.RESTARTING, eta_seconds=40, since=time.time() - 30)
    assert status.retry_after == 10
    assert Status(Stage.RESTARTING, eta_seconds=40, since=time.time() - 90).retry_after == 1


def test_an_engine_is_expected_to_take_as_long_as_the_last_one():
    startup = Lifecycle()
    assert startup.eta(4) is None
    startup.engine_seconds = 20.0
    assert startup.eta(4) == 24


def test_who_is_idle_answers_too():
    assert {stage for stage in Stage if Status(stage).answers} == {Stage.READY, Stage.IDLE}


def test_nothing_comes_after_the_end():
    startup, heard = Lifecycle(), []
    startup.listen(lambda status: heard.append(status.stage))
    startup.enter(Stage.STOPPING)
    startup.enter(Stage.READY)
    assert heard == [Stage.RESOLVING, Stage.STOPPING]
    assert startup.status.stage is Stage.STOPPING
