"""The metrics of transcriptions in the background."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge


class BackgroundMetrics:
    """The part of app.metrics.Metrics that transcriptions in the background fill."""

    def __init__(self, gauge: Callable[..., Gauge], counter: Callable[..., Counter]) -> None:
        status = ("status",)
        self.jobs = gauge("background_jobs", "Transcriptions in the background, by status", status)
        self.ended = counter(
            "background_jobs_ended",
            "Transcriptions in the background that ended, by status",
            status,
        )
        self.stored = gauge(
            "background_stored_bytes", "Bytes on the disk of transcriptions in the background"
        )
        self.windows_kept = counter(
            "background_windows_kept",
            "Windows in the background that were decoded, and that a restart does not decode again",
        )
        self.webhooks = counter(
            "webhook_attempts", "Attempts to deliver a webhook, by what came of them", ("outcome",)
        )
        for outcome in ("delivered", "refused", "failed"):
            self.webhooks.labels(outcome)
