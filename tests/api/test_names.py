"""What is answered to a name that a client has for a model, and what is told of it."""

import logging

import pytest
from fastapi.testclient import TestClient

from app.main import build_app
from tests.sound import encode, tone

NETWORK = {"host": "0.0.0.0", "api_keys": "key"}
KEY = {"authorization": "Bearer key"}
WAV = encode(tone(2))
ROUTES = ("/v1/audio/transcriptions", "/v1/audio/translations")


@pytest.fixture
def settings(request):
    return getattr(request, "param", NETWORK)


def post(client, path=ROUTES[0], **fields):
    return client.post(path, files={"file": WAV}, data=fields, headers=KEY)


@pytest.fixture
def facts(caplog):
    """Of the last line of the log."""
    caplog.set_level(logging.INFO, "marlinscribe.requests")
    return lambda: vars([r for r in caplog.records if r.name == "marlinscribe.requests"][-1])


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("asked", ["whisper-1", "Systran/faster-whisper-large-v3", "turbo"])
def test_a_known_name_is_taken_and_answer_and_log_say_what_heard_it(
    client, facts, path, stream, asked
):
    answer = post(client, path, model=asked, stream=stream)
    assert (answer.status_code, answer.headers["x-marlinscribe-model"]) == (200, "mine")
    assert (facts()["model"], facts()["asked_model"]) == ("mine", asked)


@pytest.mark.parametrize("asked", ["", "mine"])
def test_a_model_that_is_asked_for_by_its_own_name_or_none_is_told_once(client, facts, asked):
    assert post(client, model=asked).headers["x-marlinscribe-model"] == "mine"
    assert facts()["model"] == "mine"
    assert "asked_model" not in facts()


def test_a_name_that_none_has_is_404_with_those_that_serve(client, facts):
    answer = post(client, model="gpt-9")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "'mine' is" in error["message"]
    assert "MARLINSCRIBE_MODEL_ALIASES" in error["message"]
    assert facts()["asked_model"] == "gpt-9"
    assert "model" not in facts()
    assert client.get("/v1/models/gpt-9", headers=KEY).json()["error"] == error


@pytest.mark.parametrize(
    "settings", [{"host": "127.0.0.1"}, NETWORK | {"model_aliases": "*"}], indirect=True
)
def test_any_name_is_taken_on_loopback_and_where_the_settings_say_so(client):
    assert post(client, model="gpt-9").headers["x-marlinscribe-model"] == "mine"
    assert client.get("/v1/models/gpt-9", headers=KEY).status_code == 200


def test_a_name_is_cut_in_the_log_and_writes_no_line_of_its_own(client, facts, caplog):
    post(client, model="a\nERROR " + "b" * 10_000)
    assert len(facts()["asked_model"]) == 100
    assert (
        "\n"
        not in [r for r in caplog.records if r.name == "marlinscribe.requests"][-1].getMessage()
    )


@pytest.mark.parametrize("settings", [{"models": "模型 1=here"}], indirect=True)
def test_a_name_that_no_header_can_carry_is_escaped(client):
    answer = post(client, model="whisper-1")
    assert answer.headers["x-marlinscribe-model"] == "%E6%A8%A1%E5%9E%8B%201"


@pytest.mark.parametrize("settings", [{"host": "127.0.0.1"}], indirect=True)
def test_metrics_know_served_names_alone(client):
    for name in ("whisper-1", "gpt-9", "tiny"):
        post(client, model=name)
    text = client.get("/metrics").text
    assert 'marlinscribe_audio_transcribed_seconds_total{model="mine"} 6.0' in text
    assert not any(name in text for name in ("whisper-1", "gpt-9", 'model="tiny"'))


@pytest.mark.parametrize("settings", [NETWORK | {"model_aliases": "ours"}], indirect=True)
def test_aliases_are_listed_behind_the_models_that_they_mean(client):
    mine, *aliases = client.get("/v1/models", headers=KEY).json()["data"]
    listed = ["ours", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"]
    assert (mine["id"], mine["aliases"]) == ("mine", listed)
    assert [one["id"] for one in aliases] == listed
    for one in aliases:
        assert one["marlinscribe"] == {"alias_of": "mine"}
        assert one.keys() == mine.keys()


@pytest.mark.parametrize("settings", [NETWORK | {"models": "org/mine=here"}], indirect=True)
@pytest.mark.parametrize(
    "name", ["org/mine", "whisper-1", "openai/whisper-tiny", "Systran%2Ffaster-whisper-tiny"]
)
def test_one_model_is_found_by_its_id_or_an_alias(client, name):
    found = client.get(f"/v1/models/{name}", headers=KEY).json()
    assert found["id"] == name.replace("%2F", "/")
    assert found["marlinscribe"].get("alias_of") == (None if name == "org/mine" else "org/mine")


@pytest.mark.parametrize("settings", [{"cors_origins": "https://a.example"}], indirect=True)
def test_a_browser_may_read_what_heard_it(context):
    client = TestClient(build_app(context))
    origin = {"origin": "https://a.example"}
    answer = client.post(ROUTES[0], files={"file": WAV}, headers=origin)
    assert "x-marlinscribe-model" in answer.headers["access-control-expose-headers"]
