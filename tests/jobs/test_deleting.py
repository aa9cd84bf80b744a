"""A job that is over may be forgotten; what it told in memory is bounded."""

from concurrent.futures import Future

import pytest

import app.jobs.log
import app.jobs.runner
from app.errors import JobConflict, RecordNotKept, UnknownJob
from app.jobs import JobStatus, Outcome
from tests.jobs.fakes import OVER, ended_as, heard, over, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", OVER)
async def test_a_job_that_is_over_is_deleted_for_good(jobs, work, open_again, tmp_path, status):
    job = await ended_as(jobs, work, status)
    await jobs.delete(job.id)
    assert jobs.all() == []
    assert list((tmp_path / "jobs").glob("*.json")) == []
    for ask in (jobs.get, jobs.resume):
        with pytest.raises(UnknownJob):
            ask(job.id)
    with pytest.raises(UnknownJob):
        await jobs.delete(job.id)
    assert open_again().all() == []


async def test_the_same_may_be_asked_for_again_once_its_job_is_deleted(jobs, work):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    await jobs.delete(job.id)
    again, new = jobs.submit({"name": "a"}, "a")
    assert new
    assert again.id != job.id


async def test_a_job_that_is_not_over_is_not_deleted(jobs, work):
    running, waiting = submit(jobs, "a", "b")
    async with working(jobs):
        await until(lambda: work.began)
        for job in (running, waiting):
            with pytest.raises(JobConflict, match=job.status):
                await jobs.delete(job.id)
            assert jobs.get(job.id) is job


async def test_a_job_whose_record_cannot_be_deleted_stays(jobs, work, monkeypatch):
    job = await ended_as(jobs, work, JobStatus.FAILED)
    failed = Future()
    failed.set_exception(OSError(28, "No space left on device"))
    monkeypatch.setattr(jobs._records, "delete", lambda name: failed)
    with pytest.raises(RecordNotKept):
        await jobs.delete(job.id)
    assert jobs.get(job.id) is job


async def test_of_what_a_job_tells_the_newest_is_kept(jobs, work, monkeypatch):
    monkeypatch.setattr(app.jobs.log, "_MOST_EVENTS", 10)

    async def talk(job, reporter):
        for number in range(1000):
            reporter.progress(number, 1000, None)
        return Outcome(JobStatus.PROVEN)

    work.does["a"] = talk
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
    events = await heard(jobs, job)
    assert 10 < len(events) <= 20
    assert [event["type"] for event in events[-2:]] == ["progress", "status"]
    assert events[-2]["done"] == 999


async def test_what_jobs_told_is_kept_of_the_last_ones_that_are_over(jobs, work, monkeypatch):
    monkeypatch.setattr(app.jobs.runner, "_MOST_LOGS", 3)
    async with working(jobs):
        waiting = submit(jobs, "waiting")
        await until(lambda: work.began)
        for number in range(20):
            jobs.cancel(submit(jobs, f"{number}").id)
        assert len(jobs._logs) <= 5
        assert waiting.id in jobs._logs  # somebody may listen to it
        work.gates["waiting"].set()
        await over(waiting)
