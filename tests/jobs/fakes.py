"""Work by script, and what tests of jobs do with it."""

import asyncio
import errno
import json
from collections import defaultdict
from contextlib import asynccontextmanager, suppress

from app.errors import EngineDied
from app.jobs import JobStatus, Outcome
from tests.waiting import until

OVER = [status for status in JobStatus if not status.active]
STANDING = [JobStatus.PROVEN, JobStatus.REJECTED, JobStatus.PROMOTED]
RESUMABLE = [JobStatus.INTERRUPTED, JobStatus.CANCELLED, JobStatus.FAILED]


class Work:
    """A job does `does[name]`, or waits for its gate and is proven; both by its request's name."""

    def __init__(self):
        self.does, self.gates = {}, defaultdict(asyncio.Event)
        self.began, self.ended = [], []

    async def __call__(self, job, reporter):
        name = job.request["name"]
        self.began.append(name)
        try:
            if name in self.does:
                return await self.does[name](job, reporter)
            await self.gates[name].wait()
            return Outcome(JobStatus.PROVEN, {"made": name})
        finally:
            self.ended.append(name)


@asynccontextmanager
async def working(jobs):
    task = asyncio.create_task(jobs.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await jobs.close()


async def over(*several):
    await until(lambda: not any(job.status.active for job in several))


def submit(jobs, *names):
    """A job for each name, which is its key, and whose record is written."""
    made = [jobs.submit({"name": name}, name)[0] for name in names]
    flush()
    return made[0] if len(made) == 1 else made


OPENED = []  # every Records of a test


def flush():
    """Wait until all that was saved is on the disk."""
    for records in OPENED:
        records.flush()


def record(tmp_path, job):
    flush()
    return json.loads((tmp_path / "jobs" / f"{job.id}.json").read_text("utf-8"))


def rewrite(tmp_path, job, **changes):
    path = tmp_path / "jobs" / f"{job.id}.json"
    path.write_text(json.dumps(record(tmp_path, job) | changes))


async def ended_as(jobs, work, status, name="a"):
    """A job that is over, as `status` says."""
    if status is JobStatus.INTERRUPTED:
        async with working(jobs):
            job = submit(jobs, name)
            await until(lambda: name in work.began)
        return job

    async def end(job, reporter):
        reporter.facts(found=1)
        if status is JobStatus.FAILED:
            raise EngineDied("gone")
        return Outcome(status)

    work.does[name] = end
    job = submit(jobs, name)
    if status is JobStatus.CANCELLED:
        jobs.cancel(job.id)
    else:
        async with working(jobs):
            await over(job)
    del work.does[name]
    assert job.status is status
    return job


def chatty(end):
    """Work that tells of itself, waits for `end`, and tells of a last thing."""

    async def talk(job, reporter):
        reporter.stage("making")
        reporter.progress(1, 2, 3.5, loss=0.25)
        await end.wait()
        reporter.facts(b=2, a=1)
        return Outcome(JobStatus.PROVEN)

    return talk


async def heard(jobs, job):
    return [event async for event in jobs.events(job.id)]


def no_space(path, value):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))
