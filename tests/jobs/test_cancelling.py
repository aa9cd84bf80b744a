"""Jobs are cancelled, whenever it is, and taken up again."""

import asyncio
from contextlib import suppress

import pytest

from app.errors import EngineDied, JobConflict, JobsFull
from app.jobs import JobStatus, Outcome
from tests.jobs.fakes import (
    OVER,
    RESUMABLE,
    STANDING,
    ended_as,
    over,
    record,
    rewrite,
    submit,
    working,
)
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_job_cancelled_while_it_waits_never_begins(jobs, work, tmp_path):
    first, second, third = submit(jobs, "a", "b", "c")
    work.gates["a"].set()
    work.gates["c"].set()
    assert jobs.cancel(second.id).status == "cancelled"
    assert record(tmp_path, second)["status"] == "cancelled"
    assert second.finished_at
    async with working(jobs):
        await over(first, third)
    assert work.began == ["a", "c"]


async def test_a_job_cancelled_while_it_runs_cleans_up_and_the_next_begins(jobs, work, tmp_path):
    job, _ = submit(jobs, "a", "b")
    async with working(jobs):
        await until(lambda: work.began == ["a"])
        jobs.cancel(job.id)
        await over(job)
        assert work.ended == ["a"]
        assert (job.status, job.error) == ("cancelled", None)
        assert record(tmp_path, job)["status"] == "cancelled"
        await until(lambda: work.began == ["a", "b"])


async def test_a_job_cancelled_before_its_first_step_is_over(jobs, work):
    job, after = submit(jobs, "a", "b")
    work.gates["b"].set()
    async with working(jobs):
        await asyncio.sleep(0)  # the worker has begun it, and its task has had no turn
        assert (job.status, work.began) == ("running", [])
        jobs.cancel(job.id)
        await over(job, after)
    assert job.status == "cancelled"
    assert work.began == ["b"]


@pytest.mark.parametrize("status", OVER)
async def test_what_is_over_is_not_cancelled(jobs, work, status):
    job = await ended_as(jobs, work, status)
    with pytest.raises(JobConflict, match=status):
        jobs.cancel(job.id)
    assert job.status is status


async def test_cancelling_twice_lets_the_work_clean_up(jobs, work):
    cleaning, may_end, cleaned = asyncio.Event(), asyncio.Event(), []

    async def careful(job, reporter):
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await may_end.wait()
            cleaned.append(True)

    work.does["a"] = careful
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: work.began)
        jobs.cancel(job.id)
        await cleaning.wait()
        assert jobs.cancel(job.id) is job
        for _ in range(20):  # turns of the loop
            await asyncio.sleep(0)
        assert job.status == "running"
        may_end.set()
        await over(job)
    assert job.status == "cancelled"
    assert cleaned


async def test_cancelling_what_cleans_up_beyond_recall_is_no_conflict(jobs, work):
    cleaning, may_end = asyncio.Event(), asyncio.Event()

    async def careful(job, reporter):
        try:
            await asyncio.Event().wait()
        finally:
            reporter.commit()
            cleaning.set()
            await may_end.wait()

    work.does["a"] = careful
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: work.began)
        jobs.cancel(job.id)
        await cleaning.wait()
        assert jobs.cancel(job.id) is job
        may_end.set()
        await over(job)
    assert job.status == "cancelled"


async def test_work_that_ends_in_spite_of_being_cancelled_is_what_it_says(jobs, work):
    async def stubborn(job, reporter):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Outcome(JobStatus.PROVEN)

    work.does["a"] = stubborn
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: work.began)
        jobs.cancel(job.id)
        await over(job)
        assert job.status == "proven"
        # and the mark is gone: another interruption is none that was asked for
        jobs.start_beside(job.id, lambda job, reporter: asyncio.Event().wait())
    assert job.status == "proven"


async def test_work_that_fails_while_it_is_cancelled_has_failed(jobs, work):
    async def failing(job, reporter):
        try:
            await asyncio.Event().wait()
        finally:
            raise EngineDied("gone meanwhile")

    work.does["a"] = failing
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: work.began)
        jobs.cancel(job.id)
        await over(job)
    assert (job.status, job.error["code"]) == ("failed", "engine_died")


async def test_work_that_has_gone_too_far_is_not_cancelled(jobs, work):
    end = asyncio.Event()

    async def commit(job, reporter):
        reporter.commit()
        reporter.stage("promoting")
        await end.wait()
        return Outcome(JobStatus.PROMOTED)

    work.does["a"] = commit
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: job.stage)
        with pytest.raises(JobConflict, match="promoting"):
            jobs.cancel(job.id)
        end.set()
        await over(job)
    assert job.status == "promoted"


async def test_a_resumed_job_may_be_cancelled_however_far_it_had_gone(jobs, work):
    async def commit(job, reporter):
        reporter.commit()
        raise EngineDied("gone")

    work.does["a"] = commit
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
    jobs.resume(job.id)
    jobs.cancel(job.id)
    assert job.status == "cancelled"


@pytest.mark.parametrize("status", RESUMABLE)
async def test_a_job_that_came_to_nothing_is_queued_again(jobs, work, status, tmp_path):
    job = await ended_as(jobs, work, status)
    facts = dict(job.facts)
    assert jobs.resume(job.id) is job
    assert (job.status, job.stage, job.error) == ("queued", "", None)
    assert (job.started_at, job.finished_at) == (None, None)
    assert job.facts == facts
    assert record(tmp_path, job)["status"] == "queued"
    work.gates["a"].set()
    async with working(jobs):
        await over(job)
    assert job.status == "proven"
    assert job.facts == facts | {"made": "a"}


async def test_an_idle_worker_takes_a_resumed_job_up(jobs, work):
    job = await ended_as(jobs, work, JobStatus.CANCELLED)
    work.gates["a"].set()
    async with working(jobs):
        await asyncio.sleep(0)
        jobs.resume(job.id)
        await over(job)
    assert job.status == "proven"


async def test_what_was_interrupted_by_a_kill_is_resumed_by_the_next_process(
    jobs, work, open_again, tmp_path
):
    job = submit(jobs, "a")
    rewrite(tmp_path, job, status="running")
    again = open_again()
    work.gates["a"].set()
    found = again.resume(job.id)
    async with working(again):
        await over(found)
    assert found.status == "proven"


@pytest.mark.parametrize("status", STANDING)
async def test_what_was_found_out_is_not_resumed(jobs, work, status):
    job = await ended_as(jobs, work, status)
    with pytest.raises(JobConflict, match=status):
        jobs.resume(job.id)
    assert job.status is status


def test_what_waits_is_not_resumed(jobs):
    with pytest.raises(JobConflict, match="queued"):
        jobs.resume(submit(jobs, "a").id)


def test_no_more_jobs_wait_than_may_however_they_came(open_again):
    jobs = open_again(most_waiting=1)
    old = submit(jobs, "a")
    jobs.cancel(old.id)
    submit(jobs, "b")
    with pytest.raises(JobsFull):
        jobs.resume(old.id)


def test_two_jobs_of_one_key_do_not_wait_together(jobs):
    old = submit(jobs, "a")
    jobs.cancel(old.id)
    submit(jobs, "a")
    with pytest.raises(JobConflict):
        jobs.resume(old.id)
