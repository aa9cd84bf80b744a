"""OpenTelemetry tracing, where an endpoint is set: a span for each request, in its caller's trace,
and vLLM's own below it, one for each window.

Spans leave by OTLP over gRPC, or over HTTP where OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is
http/protobuf, as vLLM's do.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from app import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

# What vLLM is to put its spans below (W3C trace context), for the task of a request.
_headers: ContextVar[Mapping[str, str] | None] = ContextVar("trace_headers", default=None)

Facts = Callable[[], dict[str, Any]]


def trace_headers() -> Mapping[str, str] | None:
    """Return the trace headers of the request that is being answered; None where nobody traces."""
    return _headers.get()


class Tracing:
    """Makes spans. `endpoint`: a collector's, or None for no tracing at all."""

    def __init__(self, endpoint: str | None) -> None:
        self._provider = _provider(endpoint) if endpoint else None

    @contextmanager
    def request(self, scope: Mapping[str, Any], facts: Facts) -> Generator[None]:
        """Open a request's span, which gets the `facts` at its end."""
        if self._provider is None:
            yield
            return
        from opentelemetry.propagate import extract, inject
        from opentelemetry.trace import SpanKind

        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        tracer = self._provider.get_tracer("marlinscribe", __version__)
        with tracer.start_as_current_span(
            scope["method"], context=extract(sent), kind=SpanKind.SERVER
        ) as span:
            headers: dict[str, str] = {}
            inject(headers)
            token = _headers.set(headers)
            try:
                yield
            finally:
                _headers.reset(token)
                found = facts()
                span.update_name(f"{scope['method']} {found.get('http.route', '')}".strip())
                span.set_attributes({name: v for name, v in found.items() if v is not None})

    def close(self) -> None:
        """Send the spans that are left. Blocking, for seconds at most."""
        if self._provider:
            self._provider.shutdown()


def _provider(endpoint: str) -> "TracerProvider":
    """Import OpenTelemetry, which vLLM brings and which takes a while, and set up its provider."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

    exporter: SpanExporter
    if os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        exporter = Grpc(endpoint=endpoint, insecure=endpoint.startswith("http://"))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        exporter = Http(endpoint=endpoint)
    resource = Resource.create({"service.name": "marlinscribe", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
