"""What a job tells while it goes on, to whoever listens."""

import asyncio
from contextlib import aclosing

import pytest

from app.errors import UnknownJob
from app.files import write_json
from app.jobs import JobStatus, Outcome
from tests.jobs.fakes import OVER, chatty, ended_as, heard, over, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_events_are_told_from_the_beginning_live_and_to_all(jobs, work, tmp_path):
    end = asyncio.Event()
    work.does["a"] = chatty(end)
    job = submit(jobs, "a")
    early = asyncio.create_task(heard(jobs, job))
    async with working(jobs):
        await until(lambda: job.progress)
        assert job.progress == {"done": 1, "total": 2, "eta_seconds": 3.5}
        late = asyncio.create_task(heard(jobs, job))
        end.set()
        async with asyncio.timeout(60):
            events = await early
            assert await late == events
        assert await heard(jobs, job) == events
    stage, progress, facts, status = events
    assert (stage["type"], stage["stage"]) == ("stage", "making")
    assert {name: progress[name] for name in ("type", "stage", "done", "total", "loss")} == {
        "type": "progress", "stage": "making", "done": 1, "total": 2, "loss": 0.25,
    }  # fmt: skip
    assert (facts["type"], facts["facts"]) == ("facts", ["a", "b"])
    assert status == {
        "type": "status",
        "status": "proven",
        "error": None,
        "at": job.finished_at,
    }
    assert all(event["at"] >= job.created_at for event in events)


async def test_an_event_comes_as_it_happens(jobs, work):
    end = asyncio.Event()
    work.does["a"] = chatty(end)
    job = submit(jobs, "a")
    async with working(jobs), aclosing(jobs.events(job.id)) as events, asyncio.timeout(60):
        assert (await anext(events))["stage"] == "making"
        assert (await anext(events))["done"] == 1
        assert job.status == "running"
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not following.done()
        end.set()
        assert (await following)["type"] == "facts"


async def test_a_watcher_that_leaves_disturbs_nobody(jobs, work):
    end = asyncio.Event()
    work.does["a"] = chatty(end)
    job = submit(jobs, "a")
    async with working(jobs):
        stays = asyncio.create_task(heard(jobs, job))
        async with aclosing(jobs.events(job.id)) as events:
            await anext(events)
        leaves = asyncio.create_task(heard(jobs, job))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait({leaves})
        end.set()
        async with asyncio.timeout(60):
            assert (await stays)[-1]["status"] == "proven"


@pytest.mark.parametrize("status", OVER)
async def test_of_a_job_that_was_over_before_its_status_is_told(jobs, work, open_again, status):
    job = await ended_as(jobs, work, status)
    (event,) = await heard(open_again(), job)
    assert (event["type"], event["status"]) == ("status", status)


async def test_events_end_with_an_error_that_was_told(jobs, work):
    job = await ended_as(jobs, work, JobStatus.FAILED)
    assert (await heard(jobs, job))[-1]["error"] == {"code": "engine_died", "message": "gone"}


async def test_a_watcher_of_a_waiting_job_hears_of_its_end(jobs):
    job = submit(jobs, "a")
    watching = asyncio.create_task(heard(jobs, job))
    await asyncio.sleep(0)
    jobs.cancel(job.id)
    async with asyncio.timeout(60):
        (event,) = await watching
    assert event["status"] == "cancelled"


async def test_watching_a_job_that_is_not_there_says_so(jobs):
    with pytest.raises(UnknownJob):
        await anext(jobs.events("qjob_none"))


async def test_a_resumed_job_tells_of_its_new_run_alone(jobs, work):
    end = asyncio.Event()
    work.does["a"] = chatty(end)
    job = submit(jobs, "a")
    async with working(jobs):
        await until(lambda: job.progress)
        jobs.cancel(job.id)
        await over(job)
        end.set()
        jobs.resume(job.id)
        await over(job)
        events = await heard(jobs, job)
    assert [event["type"] for event in events] == ["stage", "progress", "facts", "status"]


async def test_a_slow_watcher_hears_of_the_end_although_the_job_was_resumed(jobs, work):
    work.does["a"] = chatty(asyncio.Event())
    job = submit(jobs, "a")
    async with working(jobs), aclosing(jobs.events(job.id)) as events:
        await anext(events)
        jobs.cancel(job.id)
        await over(job)
        jobs.resume(job.id)  # while the watcher is still busy with the first event
        rest = asyncio.create_task(last_of(events))
        await until(lambda: job.status == "running" and job.progress)
        jobs.cancel(job.id)
        await over(job)
        for _ in range(100):  # turns of the loop, of which it needs a few
            await asyncio.sleep(0)
        rest.cancel()
        await asyncio.wait({rest})
        assert not rest.cancelled()
        assert rest.result()["status"] == "cancelled"


async def last_of(events):
    return [event async for event in events][-1]


async def test_progress_is_not_written_to_the_disk_each_time(jobs, work, monkeypatch):
    written = []

    def noting(path, value):
        written.append(path)
        write_json(path, value)

    monkeypatch.setattr("app.jobs.records.write_json", noting)

    async def busy(job, reporter):
        reporter.stage("making")
        for number in range(500):
            reporter.progress(number, 500, None)
        return Outcome(JobStatus.PROVEN)

    work.does["a"] = busy
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
    assert len(written) < 10
    assert len(await heard(jobs, job)) == 502


async def test_a_new_stage_has_no_progress_yet(jobs, work):
    async def two(job, reporter):
        reporter.stage("one")
        reporter.progress(1, 2, None)
        reporter.stage("two")
        return Outcome(JobStatus.PROVEN)

    work.does["a"] = two
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
    assert (job.stage, job.progress) == ("two", None)
