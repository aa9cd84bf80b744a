"""Who may have how much in the background, and whose it is."""

import errno
import json
import shutil

import pytest

from tests.background.conftest import SPEECH, over, submit, wait_until, working
from tests.background.test_jobs import WAV, error

ONE, OTHER = {"authorization": "Bearer one"}, {"authorization": "Bearer other"}


@pytest.fixture
def settings(tmp_path, more):
    return {"cache_dir": tmp_path / "cache"} | more


@pytest.fixture
def more():
    return {}


@pytest.fixture
def full_disk(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        yield


@pytest.mark.parametrize("more", [{"api_keys": "one,other"}])
def test_a_job_is_visible_to_its_key_alone(client):
    job = submit(client, WAV, headers=ONE).json()["id"]
    assert over(client, job, headers=ONE)["status"] == "completed"
    for path in ("", "/result", "/events"):
        answer = client.get(f"{SPEECH}/{job}{path}", headers=OTHER)
        assert error(answer) == (404, "job_not_found", "id")
        assert client.get(f"{SPEECH}/{job}{path}").status_code == 401
    assert error(client.delete(f"{SPEECH}/{job}", headers=OTHER))[0] == 404
    assert client.get(SPEECH, headers=OTHER).json()["data"] == []
    assert [one["id"] for one in client.get(SPEECH, headers=ONE).json()["data"]] == [job]


@pytest.mark.parametrize("more", [{"background_jobs": 2}])
def test_no_more_jobs_wait_than_may(client, transcriber):
    transcriber.delay = 3600
    accepted = [submit(client, WAV) for _ in range(2)]
    refused = submit(client, WAV)
    assert error(refused) == (429, "too_many_jobs", None)
    assert refused.headers["retry-after"] == "60"
    client.delete(f"{SPEECH}/{accepted[0].json()['id']}")
    assert submit(client, WAV).status_code == 202


@pytest.mark.parametrize("more", [{"background_jobs": 4, "api_keys": "one,other"}])
def test_a_client_leaves_a_quarter_to_the_others(client, transcriber):
    transcriber.delay = 3600
    told = [submit(client, WAV, headers=ONE).status_code for _ in range(4)]
    assert told == [202, 202, 202, 429]
    assert submit(client, WAV, headers=OTHER).status_code == 202


@pytest.mark.parametrize("more", [{"background_bytes": 3 * len(WAV)}])
def test_no_more_bytes_are_kept_than_may(client, transcriber):
    transcriber.delay = 3600
    told = [submit(client, WAV) for _ in range(3)]
    assert [one.status_code for one in told] == [202, 202, 503]
    assert error(told[-1]) == (503, "upload_not_stored", None)


def test_a_full_disk_refuses_the_job_and_leaves_nothing(client, context, full_disk):
    assert error(submit(client, WAV)) == (503, "upload_not_stored", None)
    assert client.get(SPEECH).json()["data"] == []
    assert list((context.settings.cache_dir / "transcriptions").iterdir()) == []


def test_a_disk_that_is_full_for_a_while_is_no_jobs_end(client, context, monkeypatch):
    refused = []

    def full(path, content):
        refused.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.background.store.write_whole", full)
        job = submit(client, WAV).json()["id"]
        wait_until(lambda: len(refused) > 7)
    assert over(client, job)["status"] == "completed"


def test_what_is_over_for_long_enough_is_deleted(context, client, tmp_path):
    old, new = (submit(client, WAV).json()["id"] for _ in range(2))
    over(client, old)
    over(client, new)
    record = context.settings.cache_dir / "transcriptions" / old / "job.json"
    client.__exit__()
    body = json.loads(record.read_text())
    record.write_text(json.dumps(body | {"finished_at": body["finished_at"] - 8 * 86_400}))
    with working(context) as again:
        wait_until(lambda: not record.parent.exists())
        assert [one["id"] for one in again.get(SPEECH).json()["data"]] == [new]


def test_metrics_count_jobs_by_status_and_the_bytes_that_they_take(client):
    over(client, submit(client, WAV).json()["id"])
    over(client, submit(client, b"none" * 9).json()["id"])
    text = client.get("/metrics").text
    for line in (
        'marlinscribe_background_jobs{status="completed"} 1.0',
        'marlinscribe_background_jobs_ended_total{status="failed"} 1.0',
        "marlinscribe_background_windows_kept_total 1.0",
    ):
        assert line in text
    assert "marlinscribe_background_stored_bytes 0.0" not in text
