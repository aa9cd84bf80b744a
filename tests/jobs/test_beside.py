"""Further work on a job that is over, beside the queue."""

import asyncio

import pytest

from app.errors import EngineDied, JobConflict, OutOfMemory
from app.jobs import JobStatus, Outcome
from tests.jobs.fakes import OVER, ended_as, over, record, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_further_work_goes_on_beside_the_queue(jobs, work, tmp_path):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    finish = asyncio.Event()

    async def promote(job, reporter):
        await finish.wait()
        return Outcome(JobStatus.PROMOTED, {"promoted_at": 5})

    async with working(jobs):
        other = submit(jobs, "b")
        await until(lambda: work.began[-1] == "b")
        assert jobs.start_beside(job.id, promote) is job
        assert record(tmp_path, job)["status"] == "running"
        assert other.status == "running"
        finish.set()
        await over(job)
        assert other.status == "running"
    assert (job.status, job.facts["promoted_at"], job.error) == ("promoted", 5, None)
    assert record(tmp_path, job)["status"] == "promoted"


@pytest.mark.parametrize("status", OVER)
async def test_where_further_work_fails_the_job_is_what_it_was(jobs, work, status, tmp_path):
    job = await ended_as(jobs, work, status)

    async def fail(job, reporter):
        reporter.facts(tried=True)
        raise OutOfMemory("None left.", "Buy some.")

    jobs.start_beside(job.id, fail)
    assert job.status == "running"
    await over(job)
    assert (job.status, job.error["code"]) == (status, "out_of_memory")
    assert job.facts["tried"]
    assert record(tmp_path, job)["status"] == status


async def test_further_work_that_is_cancelled_leaves_the_job_what_it_was(jobs, work, tmp_path):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    jobs.start_beside(job.id, lambda job, reporter: asyncio.Event().wait())
    await asyncio.sleep(0)
    jobs.cancel(job.id)
    await over(job)
    assert (job.status, job.error) == ("proven", None)
    assert record(tmp_path, job)["status"] == "proven"


async def test_further_work_cancelled_before_its_first_step_leaves_the_job_what_it_was(jobs, work):
    job = await ended_as(jobs, work, JobStatus.PROVEN)

    async def never(job, reporter):
        raise AssertionError("begun")

    jobs.start_beside(job.id, never)
    jobs.cancel(job.id)
    await over(job)
    assert (job.status, job.error) == ("proven", None)


async def test_an_error_of_further_work_is_forgotten_when_it_is_tried_again(jobs, work):
    job = await ended_as(jobs, work, JobStatus.PROVEN)

    async def fail(job, reporter):
        raise EngineDied("gone")

    async def succeed(job, reporter):
        return Outcome(JobStatus.PROMOTED)

    for does, error in ((fail, True), (succeed, False)):
        jobs.start_beside(job.id, does)
        await over(job)
        assert bool(job.error) is error


async def test_there_is_no_further_work_on_a_job_that_is_not_over(jobs, work):
    running, waiting = submit(jobs, "a", "b")
    async with working(jobs):
        await until(lambda: work.began)
        for job in (running, waiting):
            with pytest.raises(JobConflict, match=job.status):
                jobs.start_beside(job.id, work)
        work.gates["a"].set()
        await over(running)
        jobs.start_beside(running.id, lambda job, reporter: asyncio.Event().wait())
        with pytest.raises(JobConflict, match="running"):
            jobs.start_beside(running.id, work)


async def test_a_kill_during_further_work_leaves_the_job_what_it_was(jobs, work, open_again):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    jobs.start_beside(job.id, lambda job, reporter: asyncio.Event().wait())
    found = open_again().get(job.id).status
    await jobs.close()
    assert found == "proven"


@pytest.mark.parametrize("ends", ["promoted", "failed", "killed", "amended"])
async def test_a_jobs_times_are_those_of_its_run_through_the_queue(
    jobs, work, open_again, tmp_path, monkeypatch, ends
):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    times = (job.started_at, job.finished_at)
    assert None not in times
    later = job.finished_at + 3600
    monkeypatch.setattr("app.jobs.runner.time.time", lambda: later)

    async def promote(job, reporter):
        if ends == "failed":
            raise EngineDied("gone")
        if ends == "killed":
            await asyncio.Event().wait()
        return Outcome(JobStatus.PROMOTED, {"promoted_at": later})

    if ends == "amended":
        jobs.amend(job, JobStatus.FAILED)
    else:
        jobs.start_beside(job.id, promote)
        assert (job.started_at, job.finished_at) == times
    if ends == "killed":
        found = open_again().get(job.id)
        assert found.status == "proven"
    else:
        await over(job)
        found = job
        assert [event async for event in jobs.events(job.id)][-1]["at"] == later
    assert (found.started_at, found.finished_at) == times
    await jobs.close()


async def test_a_job_cancelled_after_further_work_and_a_resumption_has_an_end(jobs, work):
    job = await ended_as(jobs, work, JobStatus.FAILED)

    async def fail(job, reporter):
        raise EngineDied("gone")

    jobs.start_beside(job.id, fail)
    await over(job)
    jobs.resume(job.id)
    assert job.finished_at is None
    assert jobs.cancel(job.id).finished_at


async def test_what_became_of_a_job_later_is_recorded(jobs, work, open_again):
    job = await ended_as(jobs, work, JobStatus.PROMOTED)
    jobs.amend(job, JobStatus.PROVEN, demoted_at=7)
    again = open_again().get(job.id)
    assert (again.status, again.facts["demoted_at"]) == ("proven", 7)
