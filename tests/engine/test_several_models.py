"""Two checkpoints side by side in one real service: each its own slot, engine and metrics."""

import json
import os
import shutil
import signal

import httpx
import pytest

from harness.processes import command, descendants
from harness.server import DEMO, Server
from tests.engine.conftest import MAYDAY, MAYDAY_WORDS
from tests.engine.load import Load
from tests.engine.test_quantize import ADMIN, KEY, RTN, admin, over

MARINE = DEMO / "marine-radio"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Both as they are: what they are quantized by is a job's."""
    folder = tmp_path_factory.mktemp("models")
    second = shutil.copytree(MARINE, folder / "copy")
    models = f"first={MARINE},second={second}"
    settings = {"quantization": "none", "cache_dir": folder / "cache", "admin_key": KEY}
    with Server(models=models, data_roots=folder, **settings) as server:
        server.second = second
        yield server


def models(server):
    """Those that are served, without their aliases."""
    listed = httpx.get(f"{server.url}/v1/models").json()["data"]
    return {one["id"]: one for one in listed if "alias_of" not in one["marlinscribe"]}


def told_by_vllm(server):
    """Names of the models that vLLM's own metrics tell of."""
    text = httpx.get(f"{server.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running{")]
    return {line.split('model_name="')[1].split('"')[0] for line in lines}


def test_the_name_chooses_the_model_and_the_first_is_the_default(server):
    assert list(models(server)) == ["first", "second"]
    for name in (None, "first", "second", "whisper-1"):
        answer = server.transcribe(MAYDAY, **({"model": name} if name else {}))
        assert answer.status_code == 200
        assert answer.json()["text"] == MAYDAY_WORDS
        assert answer.headers["x-marlinscribe-model"] == ("second" if name == "second" else "first")


def test_every_engine_has_its_own_metrics_also_after_a_restart(server):
    assert told_by_vllm(server) == {"first", "second"}
    text = httpx.get(f"{server.url}/metrics").text
    counted = 'marlinscribe_rtfx_count{model="%s"}'
    assert f"{counted % 'first'} 3.0" in text
    assert f"{counted % 'second'} 1.0" in text
    os.kill(engine_processes(server)[-1], signal.SIGKILL)  # the one that was started last
    server.wait_for("restarting", seconds=30)
    assert server.transcribe(MAYDAY, model="first").status_code == 200
    body = server.wait_for("ready", seconds=120)
    assert {name: one["status"] for name, one in body["models"].items()} == {
        "first": "ready",
        "second": "ready",
    }
    assert server.transcribe(MAYDAY, model="second").json()["text"] == MAYDAY_WORDS
    assert told_by_vllm(server) == {"first", "second"}


def engine_processes(server):
    named = [one for one in descendants(server) if "EngineCore" in command(one)]
    return [one.pid for one in sorted(named, key=lambda one: one.create_time())]


def test_one_is_promoted_and_rolled_back_under_load_and_nothing_of_either_is_lost(server):
    order = RTN | {"model": str(server.second)}
    job = admin(server, "POST", "/quantize", json=order).json()["id"]
    assert over(server, job)["status"] == "proven"
    with Load(server, ["first", "second"]) as load:
        load.wait()
        asked = admin(server, "POST", f"/quantize/{job}/promote", json={"model": "second"})
        assert asked.status_code == 202
        assert over(server, job)["status"] == "promoted"
        scheme = {name: one["marlinscribe"]["scheme"] for name, one in models(server).items()}
        assert scheme == {"first": "unquantized", "second": "W4A16 rtn g32"}
        load.wait()
        back = admin(server, "POST", "/models/rollback", json={"model": "second"})
        assert back.json()["scheme"] == "unquantized"
        load.wait()
    assert not load.refused(), server.read_log()[-3000:]
    assert {answer.json()["text"] for answer in load.answers} == {MAYDAY_WORDS}


def test_a_rollback_of_what_was_not_promoted_is_refused(server):
    answer = admin(server, "POST", "/models/rollback", json={"model": "first"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_promotion")
    unknown = httpx.post(
        f"{server.url}/models/rollback", content=json.dumps({"model": "x"}), headers=ADMIN
    )
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_models_that_do_not_fit_together_are_refused_with_the_arithmetic(tmp_path):
    """One weighs a tebibyte, of which nothing is on the disk."""
    large = shutil.copytree(MARINE, tmp_path / "large")
    header = json.dumps({"x": {"dtype": "F16", "shape": [2**39], "data_offsets": [0, 2**40]}})
    content = len(header).to_bytes(8, "little") + header.encode()
    (large / "model.safetensors").write_bytes(content)
    os.truncate(large / "model.safetensors", len(content) + 2**40)
    models = f"first={MARINE},large={large}"
    server = Server(models=models, quantization="none", cache_dir=tmp_path / "cache")
    try:
        body = server.wait_for("failed", seconds=120)
        assert body["code"] == "engine_failed"
        assert "do not fit together" in body["reason"]
        assert "(first) + " in body["reason"]
    finally:
        server.kill()
