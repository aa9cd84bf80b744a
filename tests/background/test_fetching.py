"""A recording that is fetched: only where the settings allow it, and never from the inside."""

import threading

import pytest

from tests.background.conftest import SPEECH, over
from tests.background.receiver import receiving
from tests.background.test_jobs import WAV, error


@pytest.fixture
def settings(tmp_path, more):
    allowed = {"fetch_urls": True, "allow_private_addresses": True}
    return {"cache_dir": tmp_path / "cache"} | allowed | more


@pytest.fixture
def more():
    return {}


@pytest.fixture
def server():
    with receiving() as (server, url):
        server.content, server.url = WAV, f"{url}/mayday.wav"
        yield server


def ask(client, url, files=None, **fields):
    # Without a file httpx would send no multipart form.
    files = files or {"unknown": ("", b"x")}
    return client.post(SPEECH, files=files, data={"file_url": url} | fields)


def test_a_recording_is_fetched_and_transcribed(client, server):
    assert ask(client, server.url).json()["text"] == "Mayday."


def test_a_job_begins_with_what_was_fetched(client, server):
    answer = ask(client, server.url, background="true")
    assert (answer.status_code, answer.json()["filename"]) == (202, "mayday.wav")
    assert over(client, answer.json()["id"])["status"] == "completed"


@pytest.mark.parametrize("more", [{"fetch_urls": False}])
def test_nothing_is_fetched_unless_the_settings_say_so(client, server):
    assert error(ask(client, server.url)) == (400, "invalid_value", "file_url")
    assert server.got == []


@pytest.mark.parametrize("more", [{"allow_private_addresses": False}])
def test_nothing_is_fetched_from_the_inside(client, server):
    named = server.url.replace("http://127.0.0.1", "https://localhost")
    assert error(ask(client, named)) == (400, "invalid_value", "file_url")
    assert server.got == []


def test_a_recording_is_sent_or_named(client, server):
    answer = ask(client, server.url, files={"file": ("a.wav", WAV)})
    assert error(answer) == (400, "invalid_value", "file_url")


@pytest.mark.parametrize("status", [404, 302, 500, 206])
def test_an_answer_that_is_no_recording_is_told(client, server, status):
    server.statuses, server.location = [status], server.url
    assert error(ask(client, server.url)) == (400, "fetch_failed", "file_url")
    assert len(server.got) == 1


@pytest.mark.parametrize("more", [{"max_upload_bytes": 10_000}])
def test_no_more_bytes_are_fetched_than_may_be_sent(client, server):
    assert error(ask(client, server.url)) == (413, "upload_too_large", "file_url")


@pytest.mark.parametrize("more", [{"fetch_seconds": 0.1}])
def test_who_never_answers_is_not_waited_for(client, server):
    server.hangs = threading.Event()
    assert error(ask(client, server.url)) == (400, "fetch_failed", "file_url")


def test_an_address_where_nobody_listens_is_told(client):
    assert error(ask(client, "http://127.0.0.1:9/a.wav")) == (400, "fetch_failed", "file_url")
