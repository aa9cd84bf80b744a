"""What metrics tell of jobs."""

import asyncio

import pytest

from app.errors import QuantizerFailed
from app.jobs import Jobs, JobStatus, Outcome
from app.metrics import Metrics
from app.quantization.job_metrics import meter
from tests.waiting import Clock, until

pytestmark = pytest.mark.anyio

PROOF = {
    "languages": {
        "zh": {"metric": "cer", "source": 0.04, "candidate": 0.05, "recovery": {"value": 0.8}}
    }
}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
async def run(tmp_path, metrics, clock):
    """Runs a job that does what it is told to."""
    tasks = []

    async def run(work, key="k"):
        jobs = Jobs(tmp_path, work, most_waiting=9)
        meter(jobs, metrics, clock)
        tasks.append(asyncio.create_task(jobs.run()))
        job, _ = jobs.submit({}, key)
        return job

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"marlinscribe_{name}", labels)


async def test_jobs_are_counted_by_where_they_stand(run, metrics):
    gate = asyncio.Event()

    async def work(job, reporter):
        await gate.wait()
        return Outcome(JobStatus.PROVEN)

    job = await run(work)
    await until(lambda: job.status is JobStatus.RUNNING)
    assert value(metrics, "jobs", status="running") == 1
    assert value(metrics, "jobs", status="failed") == 0
    gate.set()
    await until(lambda: not job.status.active)
    assert value(metrics, "jobs", status="running") == 0
    assert value(metrics, "jobs", status="proven") == 1
    assert value(metrics, "jobs_ended_total", status="proven") == 1


async def test_a_job_that_fails_is_counted_as_such(run, metrics):
    async def work(job, reporter):
        raise QuantizerFailed("no", "way")

    job = await run(work)
    await until(lambda: job.status is JobStatus.FAILED)
    assert value(metrics, "jobs_ended_total", status="failed") == 1


async def test_stages_are_timed_and_progress_is_of_the_one_that_runs(run, metrics, clock):
    seen = []

    async def work(job, reporter):
        reporter.stage("quantizing")
        reporter.progress(3, 4, None)
        seen.append(value(metrics, "job_progress_ratio", stage="quantizing"))
        clock.now += 60
        reporter.stage("comparing")
        reporter.progress(0, 0, None)
        seen.append(value(metrics, "job_progress_ratio", stage="quantizing"))
        clock.now += 5
        return Outcome(JobStatus.REJECTED)

    job = await run(work)
    await until(lambda: not job.status.active)
    assert seen == [0.75, None]
    assert value(metrics, "job_stage_duration_seconds_sum", stage="quantizing") == 60
    assert value(metrics, "job_stage_duration_seconds_sum", stage="comparing") == 5


async def test_the_last_proof_is_shown(run, metrics):
    async def work(job, reporter):
        reporter.facts(proof=PROOF)
        return Outcome(JobStatus.PROVEN)

    metrics.proof_recovery.labels("en").set(1)
    job = await run(work)
    await until(lambda: not job.status.active)
    assert value(metrics, "proof_recovery_ratio", language="zh") == 0.8
    assert value(metrics, "proof_recovery_ratio", language="en") is None
    labels = {"language": "zh", "metric": "cer"}
    assert value(metrics, "proof_error_ratio", side="source", **labels) == 0.04
    assert value(metrics, "proof_error_ratio", side="candidate", **labels) == 0.05
