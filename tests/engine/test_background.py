"""Jobs in the background by a real server, which is killed while it does them."""

import json
import random
import time

import httpx
import numpy as np
import pytest
from openai import OpenAI

from app.audio.decode import decode
from harness.server import Server
from tests.engine.conftest import FEW_CLIPS, MAYDAY, MAYDAY_WORDS, SHORT_WINDOWS, copied
from tests.sound import encode, silence

SPEECH = "/v1/audio/transcriptions"
KEPT = "marlinscribe_background_windows_kept_total"
# One window at a time: sums of a batch come out otherwise in their last bits, and a token may flip.
OWN = {"max_audio_seconds": 3600, "max_windows": 1, **SHORT_WINDOWS, **FEW_CLIPS}


@pytest.fixture(scope="module")
def own_cache(cache, server, tmp_path_factory):
    """Jobs are one server's at a time, and `server` has made the checkpoint."""
    return copied(cache, tmp_path_factory.mktemp("background"))


@pytest.fixture(scope="module")
def long_recording():
    """The demo's recordings one after another, some minutes of them, none like the next."""
    waves = []
    for path in sorted((MAYDAY.parent / "test").glob("*.ogg"))[:40]:
        with path.open("rb") as file:
            waves += [decode(file, max_seconds=60).samples, silence(0.7)]
    return encode(np.concatenate(waves))


def submit(server, recording, **fields):
    answer = httpx.post(
        f"{server.url}{SPEECH}",
        data={"background": "true", "response_format": "verbose_json"} | fields,
        files={"file": ("long.wav", recording)},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def job_of(server, job):
    return httpx.get(f"{server.url}{SPEECH}/{job}", timeout=60).json()


def over(server, job, seconds=400):
    deadline = time.monotonic() + seconds
    while (body := job_of(server, job))["status"] not in ("completed", "failed"):
        assert time.monotonic() < deadline, (body, server.read_log()[-3000:])
        time.sleep(0.2)
    assert body["status"] == "completed", (body, server.read_log()[-3000:])
    return body


def result(server, job, **query):
    return httpx.get(f"{server.url}{SPEECH}/{job}/result", params=query, timeout=60)


def killed_at(server, job, windows, log):
    """The server, killed once so many windows are in the log."""
    deadline = time.monotonic() + 300
    while not log.exists() or log.read_bytes().count(b"\n") <= windows:
        assert time.monotonic() < deadline
        assert job_of(server, job)["status"] != "completed"
        time.sleep(0.01)
    server.kill()
    return log.read_bytes().count(b"\n") - 1


def test_a_job_that_is_killed_twice_has_the_text_of_an_undisturbed_one(own_cache, long_recording):
    chance = random.Random(17)
    settings = {"cache_dir": own_cache} | OWN
    with Server(**settings) as server:
        whole = submit(server, long_recording)
        over(server, whole)
        count = int(metric(server, KEPT))
        undisturbed = result(server, whole).json()
        job = submit(server, long_recording)
        log = own_cache / "transcriptions" / job / "windows.jsonl"
        first = killed_at(server, job, chance.randrange(1, count // 3), log)
    with Server(**settings) as server:
        second = killed_at(server, job, chance.randrange(first, 2 * count // 3) + 1, log)
    assert first < second < count
    with Server(**settings) as server:
        body = over(server, job)
        again = result(server, job).json()
        told = metric(server, KEPT)
    assert body["progress"]["seconds_done"] == body["progress"]["seconds_total"]
    assert told_of(again) == told_of(undisturbed)
    assert told <= count - second, "finished windows are not decoded again"


def told_of(body):
    """What a reader sees."""
    return (
        body["language"],
        body["text"],
        [(one["start"], one["end"], one["text"]) for one in body["segments"]],
        body["coverage"],
    )


def metric(server, name):
    lines = httpx.get(f"{server.url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_every_route_of_a_job_through_the_engine(server):
    with MAYDAY.open("rb") as file:
        job = submit(server, file.read(), response_format="json")
    with httpx.stream("GET", f"{server.url}{SPEECH}/{job}/events", timeout=120) as answer:
        told = [line[6:] for line in answer.iter_lines() if line.startswith("data: {")]
    types = [json.loads(one)["type"] for one in told]
    assert types[-1] == "transcription.job.completed"
    assert "transcript.text.segment" in types
    assert result(server, job).json()["text"] == MAYDAY_WORDS
    plain = server.transcribe(MAYDAY, response_format="srt").text
    assert result(server, job, response_format="srt").text == plain
    listed = httpx.get(f"{server.url}{SPEECH}", timeout=60).json()["data"]
    assert job in [one["id"] for one in listed]
    assert httpx.delete(f"{server.url}{SPEECH}/{job}", timeout=60).json()["deleted"]
    assert httpx.get(f"{server.url}{SPEECH}/{job}", timeout=60).status_code == 404


def test_whoever_waits_is_answered_while_a_job_is_done(server, long_recording):
    job = submit(server, long_recording)
    answer = server.transcribe(MAYDAY)
    assert answer.json()["text"] == MAYDAY_WORDS
    assert job_of(server, job)["status"] in ("queued", "in_progress")
    httpx.delete(f"{server.url}{SPEECH}/{job}", timeout=60)


def test_a_batch_through_the_engine_by_openais_sdk(server, tmp_path):
    client = OpenAI(base_url=f"{server.url}/v1", api_key="unused")
    audio = client.files.create(file=MAYDAY, purpose="user_data")
    bodies = [{"model": "whisper-1", "file_id": audio.id}, {"file_id": "file-none"}]
    lines = [
        json.dumps({"custom_id": str(number), "method": "POST", "url": SPEECH, "body": body})
        for number, body in enumerate(bodies)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines))
    file = client.files.create(file=path, purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint=SPEECH, completion_window="24h", metadata={"a": "b"}
    )
    deadline = time.monotonic() + 120
    while batch.status not in ("completed", "failed"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    good, bad = (
        json.loads(client.files.content(one).text)
        for one in (batch.output_file_id, batch.error_file_id)
    )
    assert (good["custom_id"], good["response"]["body"]["text"]) == ("0", MAYDAY_WORDS)
    assert (bad["custom_id"], bad["error"]["code"]) == ("1", "not_found")
    assert batch.id in [one.id for one in client.batches.list()]
    assert file.id in [one.id for one in client.files.list()]
    assert client.files.delete(file.id).deleted
