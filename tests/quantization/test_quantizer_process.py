"""However the quantizer's process ends, the operator is told why."""

import os
import stat
import subprocess
import sys
import threading
import time

import psutil
import pytest

from app.checkpoints.recipe import Recipe
from app.errors import DiskFull, NoCalibration, OutOfMemory, QuantizerFailed
from app.quantization.quantizer_process import Progress, Quantizer
from app.settings import Settings

RECIPE = Recipe(method="rtn")


@pytest.fixture
def quantizer(tmp_path):
    """A quantizer whose interpreter runs the given lines instead of the module."""

    def with_child(lines, **more):
        script = tmp_path / "python"
        body = (
            "import json, os, signal, sys, time\n" + "events = os.fdopen(int(sys.argv[3]), 'w')\n"
        )
        script.write_text(f"#!{sys.executable}\n{body}{lines}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return Quantizer(str(script), None, **more)

    return with_child


def run(quantizer, tmp_path, on_progress=lambda _: None):
    return quantizer.make(tmp_path, tmp_path, RECIPE, on_progress)


def test_layers_are_told_and_figures_returned(quantizer, tmp_path):
    child = quantizer(
        "job = json.load(sys.stdin)\n"
        "print('a library chatters')\n"
        "print(json.dumps({'event': 'progress', 'done': 1, 'total': 2, 'eta_seconds': 3.5}),"
        " file=events)\n"
        "print(json.dumps({'event': 'done', 'figures': {'method': job['recipe']['method']}}),"
        " file=events)"
    )
    layers = []
    assert run(child, tmp_path, layers.append) == {"method": "rtn"}
    assert layers == [Progress(1, 2, 3.5)]


def test_what_the_child_warns_of_is_in_the_services_log(quantizer, tmp_path, caplog):
    child = quantizer(
        "print(json.dumps({'event': 'warning', 'message': '3 left out'}), file=events)\n"
        "print(json.dumps({'event': 'done', 'figures': {}}), file=events)"
    )
    run(child, tmp_path)
    assert ("WARNING", "3 left out") in [(one.levelname, one.message) for one in caplog.records]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("no_calibration", NoCalibration),
        ("disk_full", DiskFull),
        ("out_of_memory", OutOfMemory),
        ("failed", QuantizerFailed),
    ],
)
def test_what_the_child_says_of_its_end_is_raised(quantizer, tmp_path, kind, error):
    child = quantizer(
        f"print(json.dumps({{'event': 'error', 'kind': '{kind}', 'message': 'so it was'}}),"
        " file=events, flush=True)\nsys.exit(1)"
    )
    with pytest.raises(error, match="so it was"):
        run(child, tmp_path)


def test_a_killed_child_is_most_likely_out_of_memory(quantizer, tmp_path):
    with pytest.raises(OutOfMemory, match="SIGKILL"):
        run(quantizer("os.kill(os.getpid(), signal.SIGKILL)"), tmp_path)


def test_a_child_that_ends_without_a_word_has_failed_and_its_last_lines_are_logged(
    quantizer, tmp_path, caplog
):
    with pytest.raises(QuantizerFailed, match="status 3"):
        run(quantizer("print('the last thing I saw')\nsys.exit(3)"), tmp_path)
    assert "the last thing I saw" in caplog.text


def test_stop_ends_a_running_child(quantizer, tmp_path):
    child = quantizer(
        "print(json.dumps({'event': 'progress', 'done': 0, 'total': 1, "
        "'eta_seconds': None}), file=events, flush=True)\ntime.sleep(600)"
    )
    running = threading.Event()
    timer = threading.Thread(target=lambda: (running.wait(30), child.stop()))
    timer.start()
    started = time.monotonic()
    with pytest.raises(OutOfMemory):
        run(child, tmp_path, lambda _: running.set())
    timer.join()
    assert time.monotonic() - started < 60


def test_a_missing_overlay_says_how_to_install_it(tmp_path):
    with pytest.raises(QuantizerFailed) as caught:
        Quantizer(sys.executable, tmp_path / "nothing").versions()
    assert "requirements/install.sh" in caught.value.advice


def test_no_descriptor_is_left_open(quantizer, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(QuantizerFailed):
        run(quantizer("sys.exit(1)"), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_interpreter_that_is_not_there_says_so():
    with pytest.raises(QuantizerFailed, match="/no/python"):
        Quantizer("/no/python", None).versions()


def test_the_versions_are_those_of_the_overlay():
    settings = Settings()
    found = Quantizer(settings.quantizer_python, settings.quantizer_overlay).versions()
    assert found["llmcompressor"] == "0.14.0.1"
    assert found["compressed-tensors"] == "0.19.0"


def test_the_child_dies_with_its_server_even_before_it_has_loaded_anything(tmp_path):
    """A server killed during the child's imports leaves no orphan."""
    start = (
        "import subprocess, sys, os, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'app.quantizer.child', '1',"
        " str(os.getpid()), 'quantizer', 'own'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    with server:
        child = psutil.Process(int(server.stdout.readline()))
        time.sleep(0.3)
        server.kill()
    gone, _ = psutil.wait_procs([child], timeout=60)
    assert gone


def test_a_child_of_what_is_left_of_the_processors_gives_way_before_it_loads_anything():
    command = [sys.executable, "-m", "app.quantizer.child", "1", str(os.getpid()), "quantizer"]
    with subprocess.Popen([*command, "rest"], stdin=subprocess.PIPE) as child:
        try:
            deadline = time.monotonic() + 60
            while os.sched_getscheduler(child.pid) != os.SCHED_IDLE:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            child.kill()


def test_the_child_is_told_its_share_of_the_processors(quantizer, tmp_path):
    says = (
        "figures = {'share': sys.argv[6]}\n"
        "print(json.dumps({'event': 'done', 'figures': figures}), file=events)"
    )
    shares = [run(quantizer(says, idle_priority=gives), tmp_path) for gives in (False, True)]
    assert shares == [{"share": "own"}, {"share": "rest"}]
