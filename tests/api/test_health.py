"""Health, models and metrics."""

from app.errors import DiskFull
from app.serving.lifecycle import Stage
from tests.sound import encode, tone


def test_the_process_is_live_from_the_start(client, context):
    context.state.default.model = None
    context.state.default.lifecycle.enter(Stage.RESOLVING)
    assert client.get("/health/live").status_code == 200


def test_ready_is_200_only_when_transcriptions_are_answered(client, context):
    assert client.get("/health/ready").status_code == 200
    context.state.default.lifecycle.enter(Stage.LOADING, "mine")
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "loading", "detail": "mine"})
    assert answer.headers["retry-after"]


def test_ready_is_503_as_soon_as_the_engine_is_dead(client, context):
    context.state.default.alive = lambda: False
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "restarting")
    assert "engine" in answer.json()["detail"]
    assert answer.headers["retry-after"]
    assert client.get("/v1/models").status_code == 503


def test_an_idle_service_is_ready_and_says_what_it_would_serve(client, context):
    context.state.default.lifecycle.enter(Stage.IDLE)
    context.state.default.alive = lambda: False
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "idle"})
    assert client.get("/v1/models").json()["data"][0]["id"] == "mine"


def test_a_failed_start_shows_its_reason(client, context):
    context.state.default.lifecycle.enter(
        Stage.FAILED, error=DiskFull("The disk is full.", "Free space.")
    )
    assert client.get("/health/ready").json()["reason"] == "The disk is full."


def test_models_show_what_is_served(client):
    model = client.get("/v1/models").json()["data"][0]
    assert (model["id"], model["object"]) == ("mine", "model")
    assert model["marlinscribe"]["scheme"] == "unquantized"
    assert model["marlinscribe"]["languages"] == ["en", "zh"]
    assert "whisper-1" in model["aliases"]


def test_metrics_count_requests_by_route_and_audio_by_seconds(client):
    client.post("/v1/audio/transcriptions", files={"file": encode(tone(2))})
    client.get("/v1/some/path/with/123")
    text = client.get("/metrics").text
    route = 'route="/v1/audio/transcriptions"'
    assert f'marlinscribe_requests_total{{method="POST",{route},status="200"}} 1.0' in text
    assert f"marlinscribe_request_duration_seconds_count{{{route}}} 1.0" in text
    assert 'route="unmatched",status="404"' in text
    assert "/v1/some/path" not in text
    assert "marlinscribe_audio_received_seconds_total 2.0" in text
    assert 'marlinscribe_audio_transcribed_seconds_total{model="mine"} 2.0' in text
    for name in ("upload_duration_seconds", "audio_decode_duration_seconds"):
        assert f"marlinscribe_{name}_count 1.0" in text
    for name in ("queue_duration_seconds", "time_to_first_token_seconds", "rtfx"):
        assert f'marlinscribe_{name}_count{{model="mine"}} 1.0' in text


def test_a_method_that_somebody_made_up_is_no_label_of_its_own(client):
    client.request("BREW", "/v1/audio/transcriptions")
    text = client.get("/metrics").text
    assert "BREW" not in text
    assert 'method="other"' in text
