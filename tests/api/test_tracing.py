"""Spans, received by a collector over OTLP/HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.tracing import Tracing, trace_headers
from tests.sound import encode, tone

WAV = encode(tone(1))
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(HTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans = []

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.fixture
def settings(request, collector):
    return {"otlp_traces_endpoint": collector.endpoint} | getattr(request, "param", {})


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_is_a_span_in_its_callers_trace(client, context, collector, transcriber):
    sent = []
    decode = transcriber.decode_window

    def noting(*args, **kwargs):
        sent.append(trace_headers())
        return decode(*args, **kwargs)

    transcriber.decode_window = noting
    client.post(
        "/v1/audio/transcriptions",
        files={"file": WAV},
        headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"},
    )
    context.tracing.close()
    (span,) = collector.spans
    assert span.name == "POST /v1/audio/transcriptions"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CALLER)
    told = attributes(span)
    assert told["http.response.status_code"] == 200
    assert told["marlinscribe.request_id"] == "mine"
    assert "marlinscribe.upload_seconds" in told
    assert "marlinscribe.text" not in told
    # vLLM's spans go below it.
    assert sent == [{"traceparent": f"00-{TRACE}-{span.span_id.hex()}-01"}]
    assert trace_headers() is None


def test_a_path_that_somebody_made_up_names_no_span(client, context, collector):
    client.get("/v1/secret/1234")
    context.tracing.close()
    (span,) = collector.spans
    assert span.name == "GET unmatched"


def test_without_an_endpoint_nothing_is_traced():
    tracing = Tracing(None)
    with tracing.request({"headers": [], "method": "GET"}, dict):
        assert trace_headers() is None
    tracing.close()
