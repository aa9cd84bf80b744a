"""What dies, is stuck, is not wanted or is told to end: one real server, in this order."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from app.audio.decode import decode
from harness.processes import assert_no_orphans, command, descendants, engine_of
from harness.server import Server
from tests.engine.conftest import FEW_CLIPS, MAYDAY, MAYDAY_WORDS
from tests.sound import encode

STALL, IDLE, DRAIN = 6, 8, 5  # seconds


@pytest.fixture(scope="module")
def victim(cache, server):
    """`server` has made its checkpoint."""
    limits = {"engine_stall_seconds": STALL, "idle_unload_seconds": IDLE, "drain_seconds": DRAIN}
    victim = Server(cache_dir=cache, **FEW_CLIPS, **limits)
    try:
        victim.wait_ready()
        yield victim
    finally:
        victim.kill()


@pytest.fixture(scope="module")
def recording():
    """Minutes of the mayday, as a wav."""
    with MAYDAY.open("rb") as file:
        wave = decode(file, max_seconds=60)
    return encode(np.tile(wave.samples, 20))


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


@contextmanager
def load(victim, recording, pool):
    """Eight requests, every other one a stream, some of whose windows are in the engine now; a
    list of their answers, which is full at the end."""

    def ask(stream):
        data = {"stream": "true"} if stream else {}
        files = {"file": ("long.wav", recording)}
        url = f"{victim.url}/v1/audio/transcriptions"
        return httpx.post(url, data=data, files=files, timeout=60)

    asked, answers = [pool.submit(ask, number % 2) for number in range(8)], []
    deadline = time.monotonic() + 30
    while metric(victim, "marlinscribe_windows_in_flight") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield answers
    answers += [future.result() for future in asked]  # raises where a connection was cut


def metric(victim, name):
    lines = httpx.get(f"{victim.url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def codes(answers):
    """The error code of each, None where there is none; each is whole, and in the envelope."""
    return [code_of(answer) for answer in answers]


def code_of(answer):
    if answer.status_code != 200:
        assert answer.headers["x-request-id"]
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        error = answer.json()["error"]
    elif answer.headers["content-type"].startswith("text/event-stream"):
        *_, last = [f for f in answer.text.split("\n\n") if f.startswith("data: ")]
        if last == "data: [DONE]":
            return None
        error = json.loads(last.removeprefix("data: "))["error"]
    else:
        assert answer.json()["text"]
        return None
    assert set(error) == {"message", "type", "param", "code"}
    return error["code"]


def assert_comes_back(victim):
    ready = httpx.get(f"{victim.url}/health/ready")
    assert ready.status_code == 503
    assert 1 <= int(ready.headers["retry-after"]) <= 60
    assert victim.transcribe(MAYDAY).json()["error"]["code"] == "not_ready"
    victim.wait_for("ready", seconds=60)
    assert victim.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS


def test_a_killed_engine_is_noticed_answered_for_and_started_again(victim, recording, pool):
    with load(victim, recording, pool) as answers:
        engine_of(victim).kill()
        victim.wait_for("restarting", seconds=5)
        assert_comes_back(victim)
    assert "engine_died" in codes(answers)
    # What was not yet decoded is heard by the engine that comes next.
    assert set(codes(answers)) <= {"engine_died", "not_ready", None}
    assert (
        metric(victim, 'marlinscribe_engine_restarts_total{model="marine-radio",reason="died"}')
        == 1
    )


def test_a_stuck_engine_is_killed_and_then_the_same(victim, recording, pool):
    with load(victim, recording, pool) as answers:
        engine_of(victim).suspend()
        victim.wait_for("restarting", seconds=STALL + 15)
        assert_comes_back(victim)
    assert "engine_died" in codes(answers)
    assert set(codes(answers)) <= {"engine_died", "not_ready", None}
    assert (
        metric(victim, 'marlinscribe_engine_restarts_total{model="marine-radio",reason="stalled"}')
        == 1
    )


def test_an_idle_engine_gives_its_memory_back_until_it_is_wanted(victim):
    victim.wait_for("idle", seconds=IDLE + 15)
    assert httpx.get(f"{victim.url}/health/ready").status_code == 200
    model = httpx.get(f"{victim.url}/v1/models").json()["data"][0]
    assert model["id"] == "marine-radio"
    deadline = time.monotonic() + 15
    while any("EngineCore" in command(process) for process in descendants(victim)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert victim.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
    assert victim.health()["status"] == "ready"


def test_told_to_end_it_finishes_what_it_can_and_answers_the_rest(victim, recording, pool):
    processes = descendants(victim)
    with load(victim, recording, pool) as answers:
        victim.process.send_signal(signal.SIGTERM)
        victim.wait_for("stopping", seconds=5)
        assert httpx.get(f"{victim.url}/health/ready").status_code == 503
        assert code_of(victim.transcribe(MAYDAY)) == "shutting_down"
    assert set(codes(answers)) <= {"shutting_down", None}
    assert victim.wait() == 0
    assert_no_orphans(processes)
    assert "Traceback" not in victim.read_log().rpartition(" stopping ")[2]
