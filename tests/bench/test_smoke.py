"""Every benchmark comes to its end and shows figures, on a clip or two and in one round."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL = {
    "attention_bits": ["--clips", "4", "--model", "demo"],
    "beside": ["--rounds", "2"],
    "decode": ["--clips", "2", "--rounds", "3"],
    "decoding": ["--clips", "3", "--model", "demo"],
    "demo_check": ["--clips", "2"],
    "exposition": [],
    "faults": ["--seconds", "24"],
    "first_delta": ["--rounds", "1"],
    "detector": ["--rounds", "1"],
    "footprint": ["--rounds", "1"],
    "growth": ["--rounds", "1", "--model", "demo"],
    "hours": ["--clips", "2", "--rounds", "1", "--hour", "60", "--model", "demo"],
    "http": ["--clips", "2", "--rounds", "1", "--model", "demo"],
    "large": ["--layers", "2", "--rtn"],
    "mayday": ["--rounds", "1"],
    "mixture": ["tests/bench/order.json", "--clips", "4", "--rounds", "1"],
    "observe": ["--seconds", "3"],
    "operations": ["--clips", "2"],
    "overhead": ["--clips", "2", "--rounds", "1"],
    "page": ["--rounds", "1"],
    "prompts": ["--clips", "2"],
    "quantize": ["--clips", "2", "--recipes", "2", "--model", "demo"],
    "quantize_demo": ["--clips", "4", "--recipes", "1"],
    "recovery": ["--clips", "4", "--recipes", "1", "--model", "demo"],
    "roofline": ["--clips", "2", "--rounds", "1"],
    "sensitivity": ["--windows", "2", "--assignments", "4", "--model", "demo"],
    "short_encoder": ["--rounds", "1"],
    "sizing": [],
    "steps": ["--rounds", "1"],
    "start": ["--rounds", "1"],
    "throughput": ["--clips", "1", "--rounds", "1", "--model", "demo", "--only", "short"],
    "tuning": ["--recipes", "1", "--model", "demo"],
    "words": ["--clips", "2", "--rounds", "1", "--model", "demo"],
}
STARTED_BY_OTHERS = {
    "bare",
    "method_losses",
    "peer_faster_whisper",
    "peer_faster_whisper_server",
    "peer_transformers_server",
    "peer_whisper",
    "peer_whisper_cpp_server",
    "raw_engine",
    "unplugged",
}
# Which end with status 1 where a figure is not as wanted, as it may be in so short a run.
JUDGE = {"faults", "observe", "overhead"}
# `make image` takes root, a mirror of Debian and a quarter of an hour: it is run by itself.
# bench.gpu takes a card, bench.ggml, which measures nothing, somebody's weights, and bench.shapes
# times the largest Whisper's layers under each scheme, whatever it is told.
APART = {"ggml", "gpu", "image", "shapes"}
NEEDS = {"observe": "prometheus"}


@pytest.fixture
def environment(tmp_path):
    """Few clips to calibrate with, and a cache that is not the user's."""
    return os.environ | {
        "MARLINSCRIBE_CACHE_DIR": str(tmp_path),
        "MARLINSCRIBE_CALIBRATION_SAMPLES": "4",
    }


def run_with_all_it_starts(arguments, environment, seconds=1100):
    """What it printed. Where it takes longer, its servers are ended with it: killed alone, it would
    leave them behind, under load."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            told = child.communicate(timeout=seconds)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(arguments, child.returncode, *told)


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_comes_to_its_end(name, environment):
    if name in NEEDS and not shutil.which(NEEDS[name]):
        pytest.skip(f"bench.{name} needs {NEEDS[name]}")
    run = run_with_all_it_starts(["-m", f"bench.{name}", *SMALL[name]], environment)
    assert run.returncode in ({0, 1} if name in JUDGE else {0}), run.stdout + run.stderr[-4000:]
    assert "Traceback" not in run.stderr, run.stderr[-4000:]
    assert any(letter.isdigit() for letter in run.stdout)
