"""Telemetry of requests: metrics while one runs, and one line of the log when it is over."""

import json
import logging
import time
from typing import Annotated, Any

from fastapi import Depends, Request
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics, ModelMetrics
from app.tracing import Tracing

log = logging.getLogger("marlinscribe.requests")

# Asked every few seconds, or a score at once.
_QUIET = ("/health/live", "/health/ready", "/metrics", "/page/limits", "/page/{name:path}")
_UNMATCHED = "unmatched"  # paths anybody makes up


class RequestTelemetry:
    """Collects one request's figures. Times are in seconds; `facts` are the log's alone."""

    def __init__(self, metrics: Metrics, scope: Scope) -> None:
        self._metrics = metrics
        self._scope = scope
        self.begun = time.perf_counter()
        self.facts: dict[str, Any] = {}

    def observe(self, stage: str, seconds: float, histogram: Histogram) -> None:
        """Tell how long a stage took, to a histogram and to the log."""
        histogram.observe(seconds)
        self.facts[f"{stage}_seconds"] = round(seconds, 4)

    def record_transcribed(
        self, audio_seconds: float, seconds: float, metrics: ModelMetrics
    ) -> None:
        """Tell that so much audio was transcribed in so many seconds."""
        metrics.audio_transcribed.inc(audio_seconds)
        metrics.rtfx.observe(audio_seconds / seconds)
        self.facts["rtfx"] = round(audio_seconds / seconds, 2)

    def aborted(self) -> None:
        """The client left before the answer."""
        self._metrics.aborted.inc()
        self.facts["aborted"] = True

    def refused(self, code: str) -> None:
        """Count a request that was refused with a Retry-After."""
        self._metrics.refused.labels(_route(self._scope), code).inc()

    def stream_failed(self, code: str) -> None:
        """Count an error that was sent in a stream which had begun."""
        self._metrics.stream_errors.labels(_route(self._scope), code).inc()
        self.facts["code"] = code


async def _telemetry(
    request: Request,
) -> RequestTelemetry:  # async, or FastAPI would take a thread for it
    telemetry: RequestTelemetry = request.scope["telemetry"]
    return telemetry


Telemetry = Annotated[RequestTelemetry, Depends(_telemetry)]


class TelemetryMiddleware:
    """Opens each request's telemetry and closes it with its last byte. Plain ASGI, so that a stream
    is timed to its end."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        telemetry = scope["telemetry"] = RequestTelemetry(self._metrics, scope)
        status = 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(scope, lambda: _attributes(telemetry, scope, status)):
            try:
                await self._app(scope, receive, noting_status)
            finally:
                self._close(telemetry, scope, status)

    def _close(self, telemetry: RequestTelemetry, scope: Scope, status: int) -> None:
        seconds = time.perf_counter() - telemetry.begun
        route = _route(scope)
        self._metrics.answered(scope["method"], route, status, seconds)
        facts = {
            "request_id": scope.get("request_id"),
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),  # still escaped: no line breaks in a log
            "status": status,
            "seconds": round(seconds, 4),
            **telemetry.facts,
        }
        level = logging.DEBUG if route in _QUIET else logging.INFO
        log.log(level, "%s", _line(facts), extra=facts)


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", _UNMATCHED))


def _attributes(telemetry: RequestTelemetry, scope: Scope, status: int) -> dict[str, Any]:
    """Return a span's attributes, by OpenTelemetry's names where it has one."""
    return {
        "http.request.method": scope["method"],
        "http.route": _route(scope),
        "http.response.status_code": status,
        "marlinscribe.request_id": scope.get("request_id"),
        **{f"marlinscribe.{name}": value for name, value in telemetry.facts.items()},
    }


def _line(facts: dict[str, Any]) -> str:
    """Return the log's line: POST /v1/audio/transcriptions 200 request_id="req_…" seconds=1.2
    upload_seconds=0.01 …"""
    head = ("method", "path", "status")
    tail = [
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in facts.items()
        if name not in head
    ]
    return " ".join([*(str(facts[name]) for name in head), *tail])
