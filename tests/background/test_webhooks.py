"""Webhooks: signed as OpenAI signs them, tried again, and never to the inside."""

import dataclasses
import json
import threading
import time

import pytest
from openai import OpenAI

from app.background import webhooks
from app.background.webhooks import Delivery, attempt, pause_after, secret_bytes, signed
from tests.background.conftest import SPEECH, over, submit, wait_until, working
from tests.background.receiver import receiving
from tests.background.test_jobs import WAV, error

SECRET = "whsec_bWFyaW5lIHJhZGlvIGlzIGEgc2VjcmV0"
DELIVERY = Delivery("evt_1", "transcription.completed", "tjob_1", "https://x.example/", 17, 0.0)


@pytest.fixture
def settings(tmp_path, more):
    inside = {"webhook_secret": SECRET, "allow_private_addresses": True}
    return {"cache_dir": tmp_path / "cache"} | inside | more


@pytest.fixture
def more():
    return {}


@pytest.fixture
def receiver():
    with receiving() as (receiver, url):
        receiver.url = url
        yield receiver


@pytest.fixture
def impatient(monkeypatch):
    """Attempts that follow one another at once."""
    monkeypatch.setattr("app.background.deliveries.pause_after", lambda attempts: 0.0)


def read(got):
    """An event as OpenAI's SDK verifies it. Raises where the signature is another's."""
    headers, body = got
    client = OpenAI(api_key="unused", webhook_secret=SECRET)
    return client.webhooks.unwrap(body, headers)


def test_openais_sdk_verifies_what_says_that_a_job_is_over(client, receiver):
    job = submit(client, WAV, webhook_url=receiver.url).json()["id"]
    event = read(wait_until(lambda: receiver.got)[0])
    assert (event.type, event.data.id, event.object) == ("transcription.completed", job, "event")
    assert over(client, job)["completed_at"] == event.created_at


def test_a_failure_is_told_too(client, receiver):
    submit(client, b"none" * 9, webhook_url=receiver.url)
    assert read(wait_until(lambda: receiver.got)[0]).type == "transcription.failed"


def test_another_secret_does_not_verify():
    headers = signed(DELIVERY, secret_bytes("whsec_b3RoZXI="), int(time.time()))
    with pytest.raises(ValueError, match="signature"):
        read((headers, DELIVERY.body))


def test_a_receiver_that_fails_is_asked_again_with_the_same_id(client, receiver, impatient):
    receiver.statuses = [500, 503, 200]
    submit(client, WAV, webhook_url=receiver.url)
    wait_until(lambda: len(receiver.got) == 3)
    wait_until(lambda: 'outcome="delivered"} 1.0' in client.get("/metrics").text)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_ten_attempts_are_made_and_no_more(client, receiver, impatient, context):
    receiver.statuses = [500]
    job = submit(client, WAV, webhook_url=receiver.url).json()["id"]
    record = context.settings.cache_dir / "transcriptions" / job / "job.json"
    wait_until(lambda: len(receiver.got) == 10)
    wait_until(lambda: json.loads(record.read_text())["delivery"] is None)
    assert 'outcome="failed"} 10.0' in client.get("/metrics").text
    assert len(receiver.got) == 10


@pytest.mark.parametrize("status", [400, 404, 410, 301])
def test_a_receiver_that_refuses_is_not_asked_again(client, receiver, impatient, status):
    receiver.statuses, receiver.location = [status], receiver.url
    submit(client, WAV, webhook_url=receiver.url)
    wait_until(lambda: 'outcome="refused"} 1.0' in client.get("/metrics").text)
    assert len(receiver.got) == 1


def test_a_receiver_that_never_answers_keeps_nobody_waiting(client, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "_ANSWER_SECONDS", 0.05)
    receiver.hangs = threading.Event()
    submit(client, WAV, webhook_url=receiver.url)
    wait_until(lambda: 'outcome="failed"} 1.0' in client.get("/metrics").text)
    assert over(client, submit(client, WAV).json()["id"])["status"] == "completed"


def test_what_is_not_delivered_is_delivered_after_a_restart(context, receiver, impatient):
    receiver.statuses = [500, 200]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.background.deliveries.pause_after", lambda attempts: 3600.0)
        with working(context) as client:
            job = submit(client, WAV, webhook_url=receiver.url).json()["id"]
            record = context.settings.cache_dir / "transcriptions" / job / "job.json"
            wait_until(lambda: (json.loads(record.read_text())["delivery"] or {}).get("attempts"))
    body = json.loads(record.read_text())
    body["delivery"]["due"] = 0.0
    record.write_text(json.dumps(body))
    with working(context):
        wait_until(lambda: len(receiver.got) == 2)
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]


@pytest.mark.parametrize("more", [{"allow_private_addresses": False}])
def test_an_address_on_the_inside_is_never_asked(client, receiver):
    named = f"https://localhost:{receiver.url.split(':')[2]}"
    job = submit(client, WAV, webhook_url=named).json()["id"]
    assert over(client, job)["status"] == "completed"
    wait_until(lambda: 'outcome="refused"} 1.0' in client.get("/metrics").text)
    assert receiver.got == []
    assert error(submit(client, WAV, webhook_url=receiver.url)) == (
        400,
        "invalid_value",
        "webhook_url",
    )


@pytest.mark.anyio
async def test_a_name_is_resolved_once_and_that_address_is_asked(receiver):
    asked = []

    async def resolving(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    port = receiver.url.split(":")[2].partition("/")[0]
    delivery = dataclasses.replace(DELIVERY, url=f"http://hook.example:{port}/in?a=b")
    outcome = await attempt(delivery, secret_bytes(SECRET), allow_inside=True, resolving=resolving)
    assert (outcome, asked) == ("delivered", [("hook.example", int(port))])
    assert receiver.got[0][0]["host"] == f"hook.example:{port}"


@pytest.mark.anyio
async def test_a_name_that_is_not_found_is_looked_up_again_later():
    async def resolving(host, port):
        raise OSError

    outcome = await attempt(DELIVERY, secret_bytes(SECRET), allow_inside=False, resolving=resolving)
    assert outcome == "failed"


@pytest.mark.parametrize("more", [{"webhook_secret": None}])
def test_without_a_secret_no_webhook_is_taken(client):
    answer = submit(client, WAV, webhook_url="https://example.com/")
    assert error(answer) == (400, "invalid_value", "webhook_url")


def test_a_webhook_needs_a_job(client):
    answer = client.post(SPEECH, files={"file": WAV}, data={"webhook_url": "https://example.com/"})
    assert error(answer) == (400, "invalid_value", "webhook_url")


def test_the_pauses_grow_to_hours():
    pauses = [pause_after(number) for number in range(1, 10)]
    assert pauses[:3] == [5.0, 15.0, 45.0]
    assert 13 < sum(pauses) / 3600 < 14
