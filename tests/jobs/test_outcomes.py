"""How a job ends: failed, or with a last step that did; and when the process does."""

import asyncio
import json

import pytest

from app.errors import EngineDied, OutOfMemory
from app.jobs import JobStatus, Outcome
from tests.jobs.fakes import ended_as, over, record, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemory("No memory is left.", "Free some."),
         {"code": "out_of_memory", "message": "No memory is left.", "advice": "Free some."}),
        (EngineDied("The engine stopped."),
         {"code": "engine_died", "message": "The engine stopped."}),
        (KeyError("d_model"), {"code": "internal_error", "message": "KeyError: 'd_model'"}),
    ],
)  # fmt: skip
async def test_a_job_that_fails_says_why_and_the_next_begins(jobs, work, tmp_path, error, told):
    async def fail(job, reporter):
        reporter.stage("making")
        raise error

    work.does["a"] = fail
    work.gates["b"].set()
    failed, after = submit(jobs, "a", "b")
    async with working(jobs):
        await over(failed, after)
    assert (failed.status, failed.error, failed.stage) == ("failed", told, "making")
    assert record(tmp_path, failed)["error"] == told
    assert after.status == "proven"


async def test_a_traceback_is_logged_and_not_told(jobs, work, tmp_path, caplog):
    async def fail(job, reporter):
        raise ZeroDivisionError("so it is")

    work.does["a"] = fail
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
        events = [event async for event in jobs.events(job.id)]
    told = json.dumps([record(tmp_path, job), events])
    assert "Traceback" not in told
    assert "test_jobs" not in told
    assert "Traceback" in caplog.text


async def test_a_last_step_that_failed_does_not_take_back_what_was_found_out(jobs, work, tmp_path):
    async def proven_but(job, reporter):
        return Outcome(JobStatus.PROVEN, {"proof": 1}, error=OutOfMemory("None left.", "Buy."))

    work.does["a"] = proven_but
    job = submit(jobs, "a")
    async with working(jobs):
        await over(job)
    told = {"code": "out_of_memory", "message": "None left.", "advice": "Buy."}
    assert (job.status, job.facts, job.error) == ("proven", {"proof": 1}, told)
    assert record(tmp_path, job)["error"] == told


async def test_a_shutdown_interrupts_what_runs_and_keeps_what_waits(jobs, work, open_again):
    running, waiting = submit(jobs, "a", "b")
    async with working(jobs):
        await until(lambda: work.began)
    assert (running.status, waiting.status) == ("interrupted", "queued")
    assert work.ended == ["a"]
    assert work.began == ["a"]
    again = open_again()
    assert [job.status for job in again.all()] == ["queued", "interrupted"]


async def test_a_shutdown_waits_for_the_work_to_clean_up(jobs, work):
    cleaned = []

    async def careful(job, reporter):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(True)

    work.does["a"] = careful
    submit(jobs, "a")
    async with working(jobs):
        await until(lambda: work.began)
    assert cleaned


async def test_a_shutdown_ends_further_work_and_the_job_is_what_it_was(jobs, work, open_again):
    job = await ended_as(jobs, work, JobStatus.PROVEN)
    jobs.start_beside(job.id, lambda job, reporter: asyncio.Event().wait())
    await asyncio.sleep(0)
    await jobs.close()
    assert open_again().get(job.id).status == "proven"


async def test_closing_with_nothing_under_way_does_nothing(jobs):
    await jobs.close()
