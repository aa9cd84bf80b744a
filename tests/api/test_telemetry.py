"""One line of the log for a request, and its figures."""

import json
import logging

import httpx
import pytest
from rich.console import Console

from app.commands import console
from app.errors import EngineDied
from app.settings import Settings
from tests.sound import encode, tone

LOGGER = "marlinscribe.requests"
WAV = encode(tone(2))
ROUTE = "/v1/audio/transcriptions"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG, LOGGER)

    def lines():
        return [record for record in caplog.records if record.name == LOGGER]

    return lines


def post(client, **kwargs):
    return client.post("/v1/audio/transcriptions", files={"file": WAV}, **kwargs)


def test_a_transcription_is_one_line_with_its_id_and_stages(client, lines):
    post(client, headers={"x-request-id": "mine"})
    (line,) = lines()
    said = line.getMessage()
    assert said.startswith("POST /v1/audio/transcriptions 200 ")
    assert 'request_id="mine"' in said
    stages = ("upload", "decode", "queue", "first_token")
    assert all(f"{stage}_seconds=" in said for stage in stages)
    parts = [getattr(line, f"{stage}_seconds") for stage in stages]
    assert all(0 <= part <= line.seconds for part in parts)
    assert (line.status, line.audio_seconds, line.client) == (200, 2.0, "testclient")
    assert line.rtfx > 0


def test_what_was_heard_is_not_in_the_log(client, lines, caplog):
    post(client, data={"prompt": "secret names"})
    assert "Mayday" not in caplog.text
    assert "secret" not in caplog.text
    assert not any("Mayday" in str(line.__dict__) for line in lines())


@pytest.mark.parametrize("settings", [{"log_transcripts": True}])
def test_what_was_heard_is_in_the_log_where_it_is_asked_for(client, lines):
    post(client)
    assert lines()[0].text == "Mayday."


def test_a_refusal_says_its_code(client, lines):
    client.post("/v1/audio/transcriptions", files={"file": b"x"})
    (line,) = lines()
    assert (line.status, line.code) == (415, "not_audio")


def test_a_stream_that_fails_says_so_though_its_status_is_200(client, lines, transcriber):
    transcriber.error = EngineDied("It stopped.")
    post(client, data={"stream": "true"})
    (line,) = lines()
    assert (line.status, line.code) == (200, "engine_died")
    told = client.get("/metrics").text
    assert f'marlinscribe_stream_errors_total{{code="engine_died",route="{ROUTE}"}} 1.0' in told


def test_what_alerts_look_at_is_there_before_its_first_event(client):
    told = client.get("/metrics").text
    for code in ("not_ready", "engine_died", "too_many_requests", "queue_full", "internal_error"):
        assert f'marlinscribe_requests_refused_total{{code="{code}",route="{ROUTE}"}} 0.0' in told
        assert f'marlinscribe_stream_errors_total{{code="{code}",route="{ROUTE}"}} 0.0' in told
    for status in (200, 429, 499, 500, 503):
        labels = f'method="POST",route="{ROUTE}",status="{status}"'
        assert f"marlinscribe_requests_total{{{labels}}} 0.0" in told


def test_refusals_that_ask_to_come_again_are_counted_by_code(client, context):
    context.state.default.alive = lambda: False
    assert post(client).status_code == 503
    assert client.post("/v1/audio/transcriptions").status_code == 503
    text = client.get("/metrics").text
    assert f'marlinscribe_requests_refused_total{{code="not_ready",route="{ROUTE}"}} 2.0' in text


def test_a_client_that_leaves_is_told_from_one_that_was_answered(url, transcriber, lines):
    transcriber.delay = 5
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/audio/transcriptions", files={"file": WAV}, timeout=0.3)
    while not lines():
        pass
    assert (lines()[0].status, lines()[0].aborted) == (499, True)


def test_whoever_only_watches_does_not_fill_the_log(client, lines):
    for path in ("/health/live", "/health/ready", "/metrics"):
        client.get(path)
    assert {line.levelno for line in lines()} == {logging.DEBUG}
    client.get("/v1/models")
    assert lines()[-1].levelno == logging.INFO


def test_a_path_cannot_write_lines_of_its_own(url, lines):
    httpx.get(f"{url}/nothing%0AERROR%20all%20is%20lost")
    while not lines():
        pass
    said = lines()[0].getMessage()
    assert "\n" not in said
    assert "%0A" in said


def test_in_json_a_line_carries_its_figures_as_fields(monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # as a process has it at its start
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    console._log_to(Console(), Settings(log_format="json"))
    logging.getLogger(LOGGER).warning("船上失火", extra={"status": 200, "seconds": 1.5})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": LOGGER, "message": "船上失火", "status": 200, "seconds": 1.5,
    }  # fmt: skip
