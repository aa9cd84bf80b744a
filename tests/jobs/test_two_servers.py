"""Jobs are one process's at a time, whatever the other process thinks."""

import asyncio
import multiprocessing
import os
import signal

import pytest

import app.jobs.runner
from app.errors import JobsElsewhere, RecordNotKept
from app.jobs import Jobs
from tests.jobs.fakes import Work, over, record, submit, working
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(app.jobs.runner, "_LOOK_AGAIN", 0.005)


async def test_who_comes_second_touches_no_record_and_runs_no_job(jobs, work, tmp_path):
    running, waiting = submit(jobs, "a", "b")
    async with working(jobs):
        await until(lambda: work.began == ["a"])
        other = Work()
        second = Jobs(tmp_path / "jobs", other, most_waiting=8)
        with pytest.raises(JobsElsewhere, match="MARLINSCRIBE_CACHE_DIR") as caught:
            second.check_here()
        assert caught.value.retry_after
        assert second.all() == []
        async with working(second):
            await asyncio.sleep(0.05)
        assert other.began == []
        assert record(tmp_path, running)["status"] == "running"
        assert record(tmp_path, waiting)["status"] == "queued"


async def test_who_comes_second_goes_on_when_the_first_has_ended(jobs, work, tmp_path):
    submit(jobs, "a")
    taken = []
    second = Jobs(tmp_path / "jobs", work, most_waiting=8, on_taken=lambda: taken.append(1))
    work.gates["a"].set()
    async with working(second):
        await asyncio.sleep(0.02)
        assert (work.began, taken) == ([], [])
        jobs.leave()
        await until(lambda: second.all())
        await over(*second.all())
        second.check_here()
    assert (work.ended, taken) == (["a"], [1])


async def test_a_folder_that_cannot_be_made_has_no_jobs_and_says_so(tmp_path, work):
    (tmp_path / "file").write_text("")
    jobs = Jobs(tmp_path / "file" / "jobs", work, most_waiting=8)
    for _ in range(2):
        with pytest.raises(RecordNotKept, match="cannot be recorded"):
            jobs.check_here()


def _hold(folder, held):
    jobs = Jobs(folder, Work(), most_waiting=8)
    held.set()
    jobs.check_here()
    signal.pause()


async def test_the_jobs_of_a_process_that_was_killed_are_taken_over(tmp_path, work):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    first = context.Process(target=_hold, args=(tmp_path / "jobs", held))
    first.start()
    assert held.wait(60)
    second = Jobs(tmp_path / "jobs", work, most_waiting=8)
    with pytest.raises(JobsElsewhere):
        second.check_here()
    os.kill(first.pid, signal.SIGKILL)
    first.join(60)
    Jobs(tmp_path / "jobs", work, most_waiting=8).check_here()
