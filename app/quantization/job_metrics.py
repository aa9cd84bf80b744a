"""Metrics of jobs: how many have which status, how far the running one is, how long its stages
took, and what the last proof found."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from app.jobs import Job, Jobs, JobStatus
from app.metrics import Metrics


def meter(jobs: Jobs, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
    """Keep the metrics of jobs up to date from now on."""

    def standing(status: JobStatus) -> int:
        return sum(job.status is status for job in jobs.all())

    for status in JobStatus:
        metrics.jobs.labels(status).set_function(partial(standing, status))
        if not status.active:
            metrics.jobs_ended.labels(status)  # there from the start: a first one is an increase
    jobs.listen(_Meter(metrics, clock).on_event)


class _Meter:
    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._stages: dict[str, tuple[str, float]] = {}  # by job: which, since when

    def on_event(self, job: Job, event: dict[str, Any]) -> None:
        match event["type"]:
            case "stage":
                self._leave_stage(job)
                self._stages[job.id] = (event["stage"], self._clock())
            case "progress" if event["total"]:
                ratio = event["done"] / event["total"]
                self._metrics.job_progress.labels(event["stage"]).set(ratio)
            case "facts" if "proof" in event["facts"]:
                self._show(job.facts["proof"])
            case "status":
                self._leave_stage(job)
                self._metrics.jobs_ended.labels(event["status"]).inc()

    def _leave_stage(self, job: Job) -> None:
        stage, since = self._stages.pop(job.id, ("", 0.0))
        if stage:
            self._metrics.job_stage.labels(stage).observe(self._clock() - since)
            self._metrics.job_progress.clear()

    def _show(self, proof: dict[str, Any]) -> None:
        """Show a proof in place of the one before."""
        errors, recovery = self._metrics.proof_errors, self._metrics.proof_recovery
        errors.clear()
        recovery.clear()
        for language, found in proof["languages"].items():
            for side in ("source", "candidate"):
                errors.labels(language, found["metric"], side).set(found[side])
            recovery.labels(language).set(found["recovery"]["value"])
