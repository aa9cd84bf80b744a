"""Jobs are found again by the next process, and a full disk is lived with."""

import asyncio
import threading

import pytest

import app.jobs.records
from app.errors import RecordNotKept
from app.jobs import JobStatus
from tests.jobs.fakes import (
    chatty,
    ended_as,
    heard,
    no_space,
    over,
    record,
    rewrite,
    submit,
    working,
)
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio


async def test_a_record_is_whole_from_the_moment_a_job_is_taken(jobs, work, tmp_path):
    job = submit(jobs, "a")
    kept = record(tmp_path, job)
    assert (kept["status"], kept["request"], kept["key"]) == ("queued", {"name": "a"}, "a")
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [f"{job.id}.json"]
    async with working(jobs):
        await until(lambda: work.began)
        assert record(tmp_path, job)["status"] == "running"
        work.gates["a"].set()
        await over(job)
    kept = record(tmp_path, job)
    assert (kept["status"], kept["facts"]) == ("proven", {"made": "a"})
    assert kept["created_at"] <= kept["started_at"] <= kept["finished_at"]


def test_no_folder_is_made_before_the_first_job(jobs, tmp_path):
    assert jobs.all() == []
    assert not (tmp_path / "jobs").exists()


async def test_what_ran_when_the_process_was_killed_is_interrupted(
    jobs, work, open_again, tmp_path
):
    job = submit(jobs, "a")
    rewrite(tmp_path, job, status="running", started_at=job.created_at)
    (found,) = open_again().all()
    assert (found.id, found.status) == (job.id, "interrupted")
    assert record(tmp_path, job)["status"] == "interrupted"


async def test_what_waited_goes_on_in_its_order(jobs, work, open_again):
    submit(jobs, "a", "b", "c")
    for name in "abc":
        work.gates[name].set()
    again = open_again()
    async with working(again):
        await over(*again.all())
    assert work.ended == ["a", "b", "c"]


async def test_what_was_over_is_kept_as_it_was(jobs, work, open_again):
    proven = await ended_as(jobs, work, JobStatus.PROVEN, "a")
    failed = await ended_as(jobs, work, JobStatus.FAILED, "b")
    again = open_again()
    assert again.all() == [failed, proven]
    assert again.get(failed.id).error == {"code": "engine_died", "message": "gone"}
    assert again.submit({"name": "a"}, "a") == (proven, False)


async def test_the_order_is_kept_over_a_restart(jobs, open_again):
    made = submit(jobs, *(f"{n}" for n in range(8)))
    assert [job.id for job in open_again().all()] == [job.id for job in reversed(made)]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b"3", b'"a"', b"{}", b'{"status": "queued"}', b"\xff\xfe",
     b'{"id": "x", "request": {}, "key": "k", "status": "dancing"}'],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_passed_over_and_left(
    jobs, open_again, tmp_path, caplog, damage
):
    job = submit(jobs, "a")
    bad = tmp_path / "jobs" / "bad.json"
    bad.write_bytes(damage)
    assert open_again().all() == [job]
    assert bad.read_bytes() == damage
    assert "bad.json cannot be read" in caplog.text


def test_a_record_whose_time_is_no_number_is_passed_over(jobs, open_again, tmp_path):
    good, bad = submit(jobs, "a", "b")
    rewrite(tmp_path, bad, created_at="yesterday")
    assert open_again().all() == [good]


def test_a_full_disk_does_not_keep_jobs_from_being_found(jobs, open_again, tmp_path, monkeypatch):
    job = submit(jobs, "a")
    rewrite(tmp_path, job, status="running")
    monkeypatch.setattr(app.jobs.records, "write_json", no_space)
    assert open_again().get(job.id).status == "interrupted"


def test_what_a_killed_process_left_half_written_is_no_record(jobs, open_again, tmp_path):
    job = submit(jobs, "a")
    (tmp_path / "jobs" / f".{job.id}.json.1.partial").write_text("{")
    assert open_again().all() == [job]


async def test_a_job_whose_record_cannot_be_written_is_not_taken(jobs, work, monkeypatch, tmp_path):
    monkeypatch.setattr(app.jobs.records, "write_json", no_space)
    work.gates["a"].set()
    async with working(jobs):
        job, _ = jobs.submit({"name": "a"}, "a")
        with pytest.raises(RecordNotKept, match="No space left"):
            await jobs.kept(job)
        job, _ = jobs.submit({"name": "a"}, "a")
        same, new = jobs.submit({"name": "a"}, "a")
        assert (same, new) == (job, False)
        told = await asyncio.gather(*(jobs.kept(job) for _ in range(2)), return_exceptions=True)
        assert all(isinstance(one, RecordNotKept) and one.retry_after for one in told)
        assert jobs.all() == []
        monkeypatch.undo()
        job, _ = jobs.submit({"name": "a"}, "a")
        await jobs.kept(job)
        await over(job)
    assert work.began == ["a"]  # and the first one never did


async def test_no_job_begins_before_its_record_is_on_the_disk(jobs, work, monkeypatch):
    """After a crash it would have been for nothing, and nobody would know of it."""
    room, write = threading.Event(), app.jobs.records.write_json

    def slowly(path, value):
        assert room.wait(60)
        write(path, value)

    monkeypatch.setattr(app.jobs.records, "write_json", slowly)
    async with working(jobs):
        job, _ = jobs.submit({"name": "a"}, "a")
        await turns()
        assert (job.status, work.began) == ("queued", [])
        room.set()
        await until(lambda: work.began)


async def test_records_are_written_in_the_order_of_what_happened(jobs, work, tmp_path, monkeypatch):
    written, write = [], app.jobs.records.write_json

    def noted(path, value):
        written.append(value["status"])
        write(path, value)

    monkeypatch.setattr(app.jobs.records, "write_json", noted)
    job = submit(jobs, "a")
    jobs.cancel(job.id)
    jobs.resume(job.id)
    jobs.cancel(job.id)
    assert record(tmp_path, job)["status"] == "cancelled"
    assert written == ["queued", "cancelled", "queued", "cancelled"]


async def test_a_disk_that_fills_up_does_not_stop_the_queue(jobs, work, monkeypatch, caplog):
    end = asyncio.Event()
    work.does["a"] = chatty(end)
    work.gates["b"].set()
    first, second = submit(jobs, "a", "b")
    monkeypatch.setattr(app.jobs.records, "write_json", no_space)
    async with working(jobs):
        end.set()
        await over(first, second)
        assert [first.status, second.status] == ["proven", "proven"]
        assert (await heard(jobs, first))[-1]["status"] == "proven"
    assert "cannot be written" in caplog.text


def test_a_job_can_be_cancelled_and_resumed_on_a_full_disk(jobs, monkeypatch):
    job = submit(jobs, "a")
    monkeypatch.setattr(app.jobs.records, "write_json", no_space)
    assert jobs.cancel(job.id).status == "cancelled"
    assert jobs.resume(job.id).status == "queued"
