"""Starting, failing, being killed and starting again, with real processes."""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from harness.processes import (
    assert_no_orphans,
    command,
    descendants,
    engine_of,
    may_mount,
)
from harness.server import DEMO, Server
from tests.engine.conftest import FEW_CLIPS, KERNELS, MAYDAY, MAYDAY_WORDS, ROUNDED, copied

# A failed start is shown for long enough to be asked about; GPTQ begins and is soon over.
FAILING: dict[str, Any] = {"failure_linger_seconds": 3, "calibration_samples": 4}


def checkpoints(cache):
    return sorted(p.name for p in cache.glob("checkpoints/*") if not p.name.startswith("."))


def quantizer_of(server):
    """The quantizer's process, once it runs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in descendants(server):
            if "app.quantizer.child" in command(process):
                return process
        time.sleep(0.02)
    raise AssertionError("no quantizer ran")


def failed(server):
    """/health/ready's body of a start that fails, and the status the process ends with."""
    body = server.wait_for("failed")
    return body, server.wait()


def assert_works(server):
    with server:
        assert "Mayday" in server.transcribe(MAYDAY).json()["text"]


@pytest.fixture(scope="module")
def second(cache, server):
    """A start after `server` has made its checkpoint, from its first moment; in this order."""
    second = Server(cache_dir=cache, **FEW_CLIPS)
    yield second
    second.kill()


def test_the_first_start_quantizes(cache, server):
    log = server.read_log()
    assert "quantizing marine-radio: W4A16 gptq g128" in log
    assert any(kernel in log for kernel in KERNELS)
    assert len(checkpoints(cache)) == 1


def test_the_process_behind_http_has_neither_torch_nor_vllm(server):
    engine = mapped(engine_of(server).pid)
    assert "/torch/" in engine
    assert "/vllm/" in engine
    http = mapped(server.process.pid)
    assert "/torch/" not in http
    assert "/vllm/" not in http


def mapped(process):
    """The files that a process has mapped."""
    return Path(f"/proc/{process}/maps").read_text("utf-8")


def test_http_answers_from_the_start_and_says_how_far_it_is(second):
    """The cached checkpoint loads for seconds; meanwhile liveness never waits for it."""
    while not second.health():
        assert second.process.poll() is None
        time.sleep(0.02)
    assert time.monotonic() - second.started < 10
    stages, slowest = [], 0.0
    while (stage := second.health()["status"]) != "ready":
        stages.append(stage)
        asked = time.monotonic()
        assert httpx.get(f"{second.url}/health/live", timeout=10).status_code == 200
        slowest = max(slowest, time.monotonic() - asked)
        answer = second.transcribe(MAYDAY)
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "not_ready"
        time.sleep(0.1)
    assert "loading" in stages
    assert slowest < 5


def test_the_second_start_does_not_quantize(cache, second):
    assert second.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
    assert "quantizing" not in second.read_log()
    assert len(checkpoints(cache)) == 1


def test_the_engine_does_not_sleep_within_its_steps(second):
    """OpenMP lets threads wait awake for the next loop until a process has more of them than
    processors: one more team anywhere, and every loop of every step sleeps and is woken."""
    engine = engine_of(second)
    before = engine.num_ctx_switches().voluntary
    second.transcribe(MAYDAY)
    assert engine.num_ctx_switches().voluntary - before < 200


def test_sigterm_ends_it_cleanly_with_nothing_left(second):
    assert_ends_cleanly(second, signal.SIGTERM)


def test_sigint_while_it_loads_ends_it_cleanly_with_nothing_left(cache, server):
    started = Server(cache_dir=cache, **FEW_CLIPS)
    started.wait_for("loading")
    assert_ends_cleanly(started, signal.SIGINT)


def assert_ends_cleanly(server, number):
    processes = descendants(server)
    assert server.stop(number) == 0
    assert_no_orphans(processes)
    assert "Traceback" not in server.read_log()


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A cache in which a start has rounded the demo, and what /v1/models said of that."""
    folder = tmp_path_factory.mktemp("rounded")
    with Server(cache_dir=folder, calibration="/nowhere", **ROUNDED) as server:
        assert "Mayday" in server.transcribe(MAYDAY).json()["text"]
        model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    return folder, model["marlinscribe"]


def test_rounding_to_nearest_needs_no_calibration(rounded):
    _, facts = rounded
    assert facts["scheme"] == "W4A16 rtn g128"


def test_a_damaged_checkpoint_is_set_aside_and_made_again(rounded, tmp_path):
    cache = copied(rounded[0], tmp_path)
    (name,) = checkpoints(cache)
    weights = cache / "checkpoints" / name / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\0" * 50)
    with Server(cache_dir=cache, **ROUNDED) as server:
        assert "is damaged" in server.read_log()
        assert server.transcribe(MAYDAY).status_code == 200


@pytest.mark.slow
def test_two_starts_at_once_make_one_checkpoint(tmp_path):
    servers = [Server(cache_dir=tmp_path, **ROUNDED) for _ in range(2)]
    try:
        for server in servers:
            server.wait_ready()
        logs = [server.read_log() for server in servers]
        assert [server.stop() for server in servers] == [0, 0]
    finally:
        for server in servers:
            server.kill()
    assert sum("quantizing marine-radio: W4A16" in log for log in logs) == 1
    assert len(checkpoints(tmp_path)) == 1


def test_what_was_carried_over_is_what_the_source_has(cache, server):
    (name,) = checkpoints(cache)
    made, source = cache / "checkpoints" / name, DEMO / "marine-radio"
    for file in ("generation_config.json", "tokenizer.json", "processor_config.json"):
        assert (made / file).read_bytes() == (source / file).read_bytes()
    config = json.loads((made / "config.json").read_text())["quantization_config"]
    assert config["ignore"] == ["proj_out"]
    assert config["config_groups"]["group_0"]["weights"]["actorder"] == "static"
    figures = json.loads((made / "manifest.json").read_text())["figures"]
    assert figures["rounded_to_nearest"] == []


def test_a_model_that_is_not_there_fails_with_advice(tmp_path):
    body, status = failed(Server(model="/no/such", cache_dir=tmp_path, **FAILING))
    assert (body["code"], status) == ("bad_source", 1)
    assert "MARLINSCRIBE_MODEL" in body["advice"]


def test_a_calibration_that_cannot_be_reached_fails_with_advice(tmp_path):
    body, status = failed(Server(calibration="/nowhere", cache_dir=tmp_path, **FAILING))
    assert (body["code"], status) == ("no_calibration", 1)
    assert "rtn" in body["advice"]
    assert checkpoints(tmp_path) == []


@pytest.mark.slow
def test_a_hub_calibration_that_cannot_be_reached_fails_with_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = "MLCommons/peoples_speech:clean:train"
    body, status = failed(Server(calibration=source, cache_dir=tmp_path, **FAILING))
    assert (body["code"], status) == ("no_calibration", 1)


def test_a_killed_quantizer_is_told(tmp_path):
    server = Server(cache_dir=tmp_path, **FAILING)
    quantizer_of(server).kill()
    body, status = failed(server)
    assert (body["code"], status) == ("out_of_memory", 1)
    assert checkpoints(tmp_path) == []


@pytest.mark.slow
def test_a_quantizer_without_memory_is_told_and_the_next_start_works(tmp_path):
    server = Server(cache_dir=tmp_path, **FAILING)
    quantizer = quantizer_of(server)
    server.wait_for("quantizing")
    while not server.health().get("progress"):  # imports are over, the work begins
        assert quantizer.is_running()
        time.sleep(0.02)
    in_use = quantizer.memory_info().vms
    quantizer.rlimit(psutil.RLIMIT_AS, (in_use + 2_000_000, in_use + 2_000_000))
    body, status = failed(server)
    assert (body["code"], status) == ("out_of_memory", 1), (body, server.read_log()[-2000:])
    assert checkpoints(tmp_path) == []
    assert_works(Server(cache_dir=tmp_path, **FAILING))


@pytest.mark.skipif(not may_mount(), reason="this machine does not let a test mount a tmpfs")
def test_a_full_disk_is_told_with_advice(tmp_path):
    """The cache on a tmpfs of 3 MB, in a mount namespace of the server's own."""
    mount = f'mount -t tmpfs -o size=3m none {tmp_path} && exec "$@"'
    prefix = ("unshare", "-rm", "sh", "-c", mount, "sh")
    body, status = failed(Server(prefix=prefix, cache_dir=tmp_path, **FAILING, **ROUNDED))
    assert (body["code"], status) == ("disk_full", 1)
    assert "MARLINSCRIBE_CACHE_DIR" in body["advice"]


@pytest.mark.slow
def test_without_restarts_a_dead_engine_is_noticed_and_the_service_ends(cache, server):
    victim = Server(cache_dir=cache, failure_linger_seconds=3, engine_restarts=0, **FEW_CLIPS)
    victim.wait_ready()
    engine_of(victim).kill()
    body = victim.wait_for("failed", seconds=10)
    assert "engine" in body["reason"]
    assert victim.transcribe(MAYDAY).status_code == 503
    processes = descendants(victim)
    assert victim.wait() == 1
    assert_no_orphans(processes)


def moment(seed, longest):
    return random.Random(seed).uniform(0, longest)


@pytest.mark.slow
def test_kill_9_of_the_quantizer_at_any_moment_leaves_a_next_start_that_works(tmp_path):
    """Each start finds what the kill before it left behind."""
    for wait in sorted(moment(seed, 8) for seed in range(2)):
        server = Server(cache_dir=tmp_path, **FAILING)
        quantizer = quantizer_of(server)
        time.sleep(wait)
        with suppress(psutil.NoSuchProcess):  # on a fast machine it may have ended in order
            quantizer.kill()
        server.wait_for("failed", "ready", "loading")
        processes = descendants(server)
        server.kill()
        assert_no_orphans(processes)
    assert_works(Server(cache_dir=tmp_path, **FAILING))


@pytest.mark.slow
def test_kill_9_of_the_engine_at_any_moment_leaves_a_next_start_that_works(cache, server):
    for seed in range(3):
        victim = Server(cache_dir=cache, failure_linger_seconds=0, engine_restarts=0, **FEW_CLIPS)
        while not any("EngineCore" in command(p) for p in descendants(victim)):
            time.sleep(0.02)
        engine = engine_of(victim)
        time.sleep(moment(seed, 6))
        processes = descendants(victim)
        engine.kill()
        assert victim.wait() == 1
        assert_no_orphans(processes)
    assert_works(Server(cache_dir=cache, **FEW_CLIPS))


@pytest.mark.slow
def test_kill_9_of_the_server_at_any_moment_leaves_a_next_start_that_works(tmp_path):
    """Its quantizer, fork server and engine die with it. Each start finds what the kill before it
    left behind."""
    for wait in sorted(moment(seed, 40) for seed in range(3)):
        server = Server(cache_dir=tmp_path, **FAILING)
        time.sleep(wait)
        processes = descendants(server)
        server.kill()
        assert_no_orphans(processes)
    assert_works(Server(cache_dir=tmp_path, **FAILING))
