"""Jobs run one at a time, in order, and not too many wait."""

import asyncio

import pytest

from app.errors import JobsFull, UnknownJob
from app.jobs import Job
from tests.jobs.fakes import RESUMABLE, STANDING, ended_as, over, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_jobs_run_one_at_a_time_in_the_order_they_came(jobs, work):
    first, second, third = submit(jobs, "a", "b", "c")
    async with working(jobs):
        await until(lambda: work.began == ["a"])
        assert [job.status for job in (first, second, third)] == ["running", "queued", "queued"]
        work.gates["a"].set()
        await until(lambda: work.began == ["a", "b"])
        assert work.ended == ["a"]
        work.gates["b"].set()
        work.gates["c"].set()
        await over(first, second, third)
    assert work.ended == ["a", "b", "c"]
    assert {job.status for job in jobs.all()} == {"proven"}


async def test_a_job_that_comes_to_an_idle_worker_begins(jobs, work):
    async with working(jobs):
        await asyncio.sleep(0)
        for name in ("a", "b"):
            job = submit(jobs, name)
            work.gates[name].set()
            await over(job)
    assert work.ended == ["a", "b"]


def test_the_newest_is_told_first(jobs):
    made = submit(jobs, "a", "b", "c")
    assert jobs.all() == made[::-1]


async def test_no_more_wait_than_may_and_the_running_one_does_not_wait(open_again, work):
    jobs = open_again(most_waiting=2)
    async with working(jobs):
        submit(jobs, "a")
        await until(lambda: work.began == ["a"])
        submit(jobs, "b", "c")
        with pytest.raises(JobsFull, match="2 jobs are waiting") as caught:
            submit(jobs, "d")
        assert caught.value.retry_after
        assert len(jobs.all()) == 3
        work.gates["a"].set()
        await until(lambda: work.began == ["a", "b"])
        submit(jobs, "d")


async def test_the_same_request_is_answered_while_the_queue_is_full(open_again):
    jobs = open_again(most_waiting=1)
    job = submit(jobs, "a")
    assert jobs.submit({"name": "a"}, "a") == (job, False)


async def test_the_same_key_is_answered_with_the_same_job_while_it_is_active(jobs, work):
    job, new = jobs.submit({"name": "a"}, "key")
    assert new
    assert jobs.submit({"name": "a"}, "key") == (job, False)
    async with working(jobs):
        await until(lambda: work.began)
        assert jobs.submit({"name": "a"}, "key") == (job, False)
    assert len(jobs.all()) == 1


@pytest.mark.parametrize("status", STANDING)
async def test_the_same_key_is_answered_with_what_was_found_out(jobs, work, status):
    job = await ended_as(jobs, work, status)
    assert jobs.submit({"name": "a"}, "a") == (job, False)


@pytest.mark.parametrize("status", RESUMABLE)
async def test_the_same_key_makes_a_new_job_where_the_old_one_came_to_nothing(jobs, work, status):
    old = await ended_as(jobs, work, status)
    job, new = jobs.submit({"name": "a"}, "a")
    assert new
    assert job.id != old.id
    assert jobs.all() == [job, old]


def test_a_job_that_is_not_there_is_named(jobs):
    for ask in (jobs.get, jobs.cancel, jobs.resume, lambda name: jobs.start_beside(name, None)):
        with pytest.raises(UnknownJob, match="qjob_none") as caught:
            ask("qjob_none")
        assert caught.value.param == "id"


def test_ids_come_in_the_order_of_time(open_again):
    made = submit(open_again(most_waiting=20), *(f"{n}" for n in range(20)))
    names = [job.id for job in made]
    assert names == sorted(names)
    assert len(set(names)) == 20


def test_a_job_begins_queued_and_empty():
    job = Job("x", {}, "k")
    assert (job.status, job.facts, job.error, job.finished_at) == ("queued", {}, None, None)
