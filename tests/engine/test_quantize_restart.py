"""A job outlives its server, in maintenance and out of it; so does a promotion."""

import httpx
import pytest

from harness.server import Server
from tests.engine.conftest import FEW_CLIPS, MAYDAY, MAYDAY_WORDS
from tests.engine.test_quantize import ADMIN, KEY, RTN, over


def job_of(server, job):
    return httpx.get(f"{server.url}/quantize/{job}", headers=ADMIN, timeout=60).json()


def events(server, job):
    """The types and stages of its events, as they come."""
    url = f"{server.url}/quantize/{job}/events"
    with httpx.stream("GET", url, headers=ADMIN, timeout=300) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                yield line


def served(server):
    model = httpx.get(f"{server.url}/v1/models", timeout=60).json()["data"][0]
    return model["marlinscribe"]


@pytest.mark.slow
def test_a_killed_servers_job_is_resumed_and_its_promotion_outlives_a_restart(jobs_cache):
    settings = {"cache_dir": jobs_cache, "admin_key": KEY, "while_quantizing": "maintenance"}
    settings |= FEW_CLIPS
    order = RTN | {"recipe": {"method": "rtn", "group_size": "channel"}, "promote": "auto"}
    with Server(**settings) as server:
        job = httpx.post(f"{server.url}/quantize", headers=ADMIN, json=order).json()["id"]
        assert server.wait_for("maintenance")["detail"]
        refused = server.transcribe(MAYDAY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert int(refused.headers["retry-after"]) > 0
        assert next(line for line in events(server, job) if '"comparing"' in line)
        server.kill()
    with Server(**settings) as server:
        assert job_of(server, job)["status"] == "interrupted"
        made = job_of(server, job)["checkpoint"]["fingerprint"]
        assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
        resumed = httpx.post(f"{server.url}/quantize/{job}/resume", headers=ADMIN, timeout=60)
        assert resumed.status_code == 202
        body = over(server, job)
        assert (body["status"], body["error"]) == ("promoted", None), server.read_log()[-3000:]
        assert "quantizing marine-radio" not in server.read_log()
        assert server.wait_for("ready")
        assert served(server)["fingerprint"] == made
        server.stop()
    with Server(**settings) as server:
        facts = served(server)
        assert (facts["fingerprint"], facts["job"]) == (made, job)
        assert facts["proof"]["passed"]
        back = httpx.post(f"{server.url}/models/rollback", headers=ADMIN, timeout=120).json()
        assert back["scheme"] == "W4A16 gptq g128"
        assert job_of(server, job)["status"] == "proven"
        assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
