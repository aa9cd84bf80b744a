"""What a real server sends and fetches: webhooks to a receiver, and recordings by `file_url`."""

import httpx
import pytest
from openai import OpenAI

from harness.server import Server
from tests.background.conftest import wait_until
from tests.background.receiver import receiving
from tests.engine.conftest import AS_THEY_ARE, MAYDAY, MAYDAY_WORDS, SHORT_WINDOWS

SPEECH = "/v1/audio/transcriptions"
SECRET = "whsec_bWFyaW5lIHJhZGlvIGlzIGEgc2VjcmV0"
# Loopback is on the inside, and spoken to without TLS: both want the one setting.
ALLOWED = {"webhook_secret": SECRET, "allow_private_addresses": True, "fetch_urls": True}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    """A server that sends and fetches, on the inside too, with jobs of its own."""
    cache = tmp_path_factory.mktemp("outbound")
    with Server(cache_dir=cache, **SHORT_WINDOWS, **AS_THEY_ARE, **ALLOWED) as server:
        yield server


@pytest.fixture
def receiver():
    with receiving() as (receiver, url):
        receiver.url = url
        yield receiver


def ask(server, recording=None, **fields):
    # Without a file httpx would send no multipart form.
    files = {"file": ("radio.mp3", recording)} if recording else {"unknown": ("", b"x")}
    return httpx.post(f"{server.url}{SPEECH}", data=fields, files=files, timeout=120)


def told(receiver, count=1):
    """The last event, as OpenAI's SDK verifies it. Raises where the signature is another's."""
    wait_until(lambda: len(receiver.got) >= count, seconds=120)
    headers, body = receiver.got[-1]
    return OpenAI(api_key="unused", webhook_secret=SECRET).webhooks.unwrap(body, headers)


def test_openais_sdk_verifies_the_webhook_of_a_job_that_is_over(open_server, receiver):
    answer = ask(open_server, MAYDAY.read_bytes(), background="true", webhook_url=receiver.url)
    assert answer.status_code == 202, answer.text
    event = told(receiver)
    assert (event.type, event.data.id) == ("transcription.completed", answer.json()["id"])
    result = httpx.get(f"{open_server.url}{SPEECH}/{event.data.id}/result", timeout=60)
    assert result.json()["text"] == MAYDAY_WORDS


def test_a_job_that_fails_is_told_by_a_webhook_too(open_server, receiver):
    ask(open_server, b"none of it" * 99, background="true", webhook_url=receiver.url)
    assert told(receiver).type == "transcription.failed"


def test_the_end_of_a_batch_is_told_by_a_webhook(open_server, receiver):
    client = OpenAI(base_url=f"{open_server.url}/v1", api_key="unused")
    file = client.files.create(file=("lines.jsonl", b'{"custom_id": "a"}\n'), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint=SPEECH,
        completion_window="24h",
        extra_body={"webhook_url": receiver.url},
    )
    event = told(receiver)
    assert (event.type, event.data.id) == ("batch.completed", batch.id)
    assert client.batches.retrieve(batch.id).request_counts.failed == 1


def test_a_recording_is_fetched_by_its_address_and_transcribed(open_server, receiver):
    receiver.content = MAYDAY.read_bytes()
    answer = ask(open_server, file_url=receiver.url)
    assert answer.json()["text"] == MAYDAY_WORDS
    job = ask(open_server, file_url=receiver.url, background="true", webhook_url=receiver.url)
    assert job.status_code == 202, job.text
    assert told(receiver, 3).type == "transcription.completed"


def test_what_cannot_be_fetched_is_told(open_server, receiver):
    receiver.statuses = [404]
    answer = ask(open_server, file_url=receiver.url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "fetch_failed")
