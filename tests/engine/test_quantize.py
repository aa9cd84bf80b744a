"""/quantize on the real engine: a story in curl, and what must hold while it happens."""

import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from harness.server import DEMO, Server
from tests.engine.conftest import FEW_CLIPS, MAYDAY, MAYDAY_WORDS
from tests.engine.load import Load
from tests.engine.test_admission import archive
from tests.engine.test_transcription import metric, post

STORY = Path(__file__).with_name("quantize_story.sh")
KEY = "the-admins"
ADMIN = {"authorization": f"Bearer {KEY}"}
# The story's: what it has made and heard is not made and heard again.
PROOF = {"sources": f"{DEMO}/recordings/test", "samples": 8, "mix": {"en": 1, "zh": 1}}
RTN = {
    "recipe": {"method": "rtn", "group_size": 32},
    "proof": PROOF,
    "thresholds": {"min_recovery": 0.2},
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The one folder that a request may name."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def server(jobs_cache, work):
    settings = {"cache_dir": jobs_cache, "admin_key": KEY, "data_roots": work}
    with Server(**settings, **FEW_CLIPS, drain_seconds=5) as server:
        yield server


def admin(server, method, path, **more):
    return httpx.request(method, server.url + path, headers=ADMIN, timeout=120, **more)


def over(server, job, seconds=300):
    """The job's body when it is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        body = admin(server, "GET", f"/quantize/{job}").json()
        if body["status"] not in ("queued", "running"):
            return body
        time.sleep(0.2)
    raise AssertionError(f"never over: {body}")


@pytest.mark.slow  # minutes of GPTQ and proofs on processors without AVX-512
def test_the_whole_story(server, work):
    told = subprocess.run(
        [STORY, server.url, KEY, DEMO, work], capture_output=True, text=True, timeout=540
    )
    assert told.returncode == 0, told.stdout + told.stderr + server.read_log()[-3000:]
    assert "told to the end" in told.stdout


@pytest.mark.slow  # test_several_models has the same under the same load, for one of two models
def test_no_request_is_lost_while_checkpoints_are_exchanged(server):
    """Several clients that never stop, over a promotion and a rollback."""
    job = admin(server, "POST", "/quantize", json=RTN).json()["id"]
    assert over(server, job)["status"] == "proven"
    with Load(server, [None] * 3) as load:
        load.wait()
        admin(server, "POST", f"/quantize/{job}/promote")
        assert over(server, job)["status"] == "promoted"
        load.wait()
        assert admin(server, "POST", "/models/rollback").is_success
        load.wait()
    assert not load.refused(), server.read_log()[-3000:]
    assert {answer.json()["text"] for answer in load.answers} == {MAYDAY_WORDS}
    # The metrics are of the engine that serves, not of one that proved something.
    metrics = httpx.get(f"{server.url}/metrics").text.splitlines()
    (info,) = (line for line in metrics if line.startswith("marlinscribe_model_info{"))
    assert 'scheme="W4A16 gptq g128"' in info
    assert server.transcribe(MAYDAY).is_success
    asked = "vllm:request_success_total{"
    before = sum(float(line.split()[-1]) for line in metrics if line.startswith(asked))
    deadline = time.monotonic() + 10  # vLLM's are told a moment later
    while metric(server, asked) != before + 1:
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_what_takes_longer_than_the_drain_is_told_to_come_again(server):
    job = admin(server, "POST", "/quantize", json=RTN).json()["id"]
    assert over(server, job)["status"] == "proven"
    long = archive(40)
    answers = []
    client = threading.Thread(target=lambda: answers.append(post(server, long)))
    client.start()
    while metric(server, "marlinscribe_windows_queued") < 1:
        time.sleep(0.05)
    admin(server, "POST", f"/quantize/{job}/promote")
    client.join(60)
    (answer,) = answers
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_died")
    assert int(answer.headers["retry-after"]) > 0
    assert over(server, job)["status"] == "promoted"
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
    assert metric(server, "marlinscribe_requests_in_flight") == 0
    assert admin(server, "POST", "/models/rollback").json()["scheme"] == "W4A16 gptq g128"
