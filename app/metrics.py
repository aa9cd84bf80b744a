"""Every metric the service exports beside vLLM's own, and the middleware that times requests."""

import time
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMESPACE = "marlinscribe"
# From a 3 s clip on a card to an hour on a processor.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_RTFX = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """One set per app, in a registry of its own so that tests do not share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                name, text, labels, namespace=_NAMESPACE, buckets=buckets, registry=self.registry
            )

        self.request = histogram(
            "request_seconds", "Whole HTTP request", _SECONDS, "method", "route", "status"
        )
        self.decode = histogram("audio_decode_seconds", "Container to 16 kHz waveform", _SECONDS)
        self.queue = histogram(
            "queue_seconds", "A window's wait until the engine takes it up", _SECONDS
        )
        self.first_token = histogram(
            "time_to_first_token_seconds", "Request read to its first token", _SECONDS
        )
        self.inter_token = histogram(
            "inter_token_seconds", "Between tokens of one window", _TOKEN_SECONDS
        )
        self.rtfx = histogram(
            "rtfx", "Seconds of audio transcribed a second of processing, a request", _RTFX
        )
        self.audio_seconds = Counter(
            "audio_seconds", "Audio transcribed", namespace=_NAMESPACE, registry=self.registry
        )
        self.in_flight = Gauge(
            "windows_in_flight", "Windows in the engine", namespace=_NAMESPACE,
            registry=self.registry,
        )  # fmt: skip
        self.aborted = Counter(
            "client_aborts", "Requests whose client left before the answer",
            namespace=_NAMESPACE, registry=self.registry,
        )  # fmt: skip
        self.model = Gauge(
            "model_info", "The checkpoint served, in its labels", ("model", "scheme", "kernel"),
            namespace=_NAMESPACE, registry=self.registry,
        )  # fmt: skip

    def exposition(self) -> bytes:
        """Ours, then the default registry's: vLLM's `vllm:*`, the process and Python."""
        return bytes(generate_latest(self.registry)) + bytes(generate_latest(REGISTRY))


class TimingMiddleware:
    """Observes each request under its route's template. Plain ASGI, so a stream is timed to its
    last byte. Paths that match no route share one label value."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        finally:
            route: Any = scope.get("route")
            self._metrics.request.labels(
                scope["method"], getattr(route, "path", "unmatched"), str(status)
            ).observe(time.perf_counter() - started)
