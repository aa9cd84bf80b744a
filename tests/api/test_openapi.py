"""/openapi.json says what the service does, no more and no less."""

import json
import re

import httpx
import jsonschema
import pytest

from app.api.forms import TranscriptionForm
from app.main import build_app
from tests.api.conftest import serving
from tests.sound import encode, tone

WAV = encode(tone(1))
SPEECH = "/v1/audio/transcriptions"


@pytest.fixture
def settings():
    """On a network, where not every model's name is taken."""
    return {"host": "0.0.0.0", "allow_anonymous": True}


@pytest.fixture
def described(client):
    return client.get("/openapi.json").json()


def valid(described, schema, body):
    """Raises where the body is not what the schema says."""
    jsonschema.validate(body, {**schema, "components": described["components"]})


def test_every_route_is_described(described):
    assert set(described["paths"]) == {
        SPEECH, "/v1/audio/translations", "/v1/models", "/v1/models/{model}",
        "/asr", "/detect-language", "/inference",
        "/health/live", "/health/ready", "/metrics",
        f"{SPEECH}/{{id}}", f"{SPEECH}/{{id}}/result", f"{SPEECH}/{{id}}/events",
        "/v1/files", "/v1/files/{id}", "/v1/files/{id}/content",
        "/v1/batches", "/v1/batches/{id}", "/v1/batches/{id}/cancel",
        "/quantize", "/quantize/{id}", "/quantize/{id}/events", "/quantize/{id}/promote",
        "/quantize/{id}/record", "/quantize/{id}/report", "/quantize/{id}/resume",
        "/models/rollback",
    }  # fmt: skip


def test_no_route_answers_422(described):
    operations = [op for path in described["paths"].values() for op in path.values()]
    assert not any("422" in op["responses"] for op in operations)
    assert "ValidationError" not in described["components"]["schemas"]


def test_the_form_lists_every_field_with_lists_in_brackets(described):
    body = described["paths"][SPEECH]["post"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["file"]
    names = {name.removesuffix("[]") for name in schema["properties"]}
    assert names == {"file", *TranscriptionForm.model_fields}
    assert schema["properties"]["include[]"]["type"] == "array"
    assert "null" not in str(schema)


@pytest.mark.parametrize(
    ("sent", "fits"),
    [({"language": "en", "include": ["logprobs"], "stream": None}, True),
     ({"stream": "true"}, False), ({"input_audio": "UklGR"}, False), ({"temperature": 2}, False)],
)  # fmt: skip
def test_the_form_is_described_in_json_too_with_null_for_what_is_left_out(described, sent, fits):
    body = described["paths"][SPEECH]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"input_audio", *TranscriptionForm.model_fields}
    checked = {**schema, "components": described["components"]}
    whole = {"input_audio": {"data": "UklGR", "format": "wav"}} | sent
    assert jsonschema.Draft202012Validator(checked).is_valid(whole) is fits


@pytest.mark.parametrize(
    ("path", "field", "fields"),
    [("/inference", "file", {"response_format": "json"}),
     ("/inference", "file", {"response_format": "verbose_json"}),
     ("/inference", "file", {"response_format": "verbose_json", "no_timestamps": "true"}),
     ("/detect-language", "audio_file", {})],
)  # fmt: skip
def test_other_servers_bodies_are_as_described(client, described, path, field, fields):
    answer = client.post(path, files={field: WAV}, data=fields)
    content = described["paths"][path]["post"]["responses"]["200"]["content"]
    valid(described, content["application/json"]["schema"], answer.json())


def test_what_is_asked_in_a_query_is_described_there(described):
    asked = {one["name"]: one for one in described["paths"]["/asr"]["post"]["parameters"]}
    assert set(asked) == {
        "encode", "task", "language", "initial_prompt", "word_timestamps", "output",
    }  # fmt: skip
    assert asked["output"]["schema"]["enum"] == ["txt", "vtt", "srt", "tsv", "json"]


@pytest.mark.parametrize(
    ("sent", "fits"),
    [("auto", True), ({"type": "server_vad", "threshold": 0.3}, True), ("manual", False),
     ({"type": "server_vad", "threshold": 1}, False), ({"threshold": 0.3}, False)],
)  # fmt: skip
def test_what_counts_as_speech_is_described_as_a_word_or_an_object(described, sent, fits):
    body = described["paths"][SPEECH]["post"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]["properties"]["chunking_strategy"]
    checked = {**schema, "components": described["components"]}
    assert jsonschema.Draft202012Validator(checked).is_valid(sent) is fits


def test_no_keys_are_described_where_none_are_asked_for(described):
    assert "security" not in described["paths"][SPEECH]["post"]
    assert set(described["components"]["securitySchemes"]) == {"admin key", "admin password"}


@pytest.mark.parametrize("settings", [{"api_keys": "first"}])
def test_keys_are_described_where_they_are(described):
    assert "401" in described["paths"][SPEECH]["post"]["responses"]
    assert described["paths"][SPEECH]["post"]["security"] == [{"key": []}]
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


WORDS = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}


@pytest.mark.parametrize(
    "fields", [{"response_format": "json"}, {"response_format": "verbose_json"}, WORDS]
)
def test_bodies_are_as_described(client, described, fields):
    answer = client.post(SPEECH, files={"file": WAV}, data=fields)
    content = described["paths"][SPEECH]["post"]["responses"]["200"]["content"]
    valid(described, content["application/json"]["schema"], answer.json())


def test_errors_are_as_described(client, described):
    answers = {
        400: client.post(SPEECH),
        404: client.post(SPEECH, files={"file": WAV}, data={"model": "none"}),
        415: client.post(SPEECH, files={"file": b"none" * 9}),
    }
    told = described["paths"][SPEECH]["post"]["responses"]
    assert {"400", "404", "413", "415", "429", "500", "503"} < set(told)
    for status, answer in answers.items():
        assert answer.status_code == status
        valid(described, told[str(status)]["content"]["application/json"]["schema"], answer.json())


def test_models_are_as_described(client, described):
    for path, url in (("/v1/models", "/v1/models"), ("/v1/models/{model}", "/v1/models/mine")):
        schema = described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        valid(described, schema["schema"], client.get(url).json())


def test_events_are_as_described(context, described):
    content = described["paths"][SPEECH]["post"]["responses"]["200"]["content"]
    event, end = content["text/event-stream"]["itemSchema"]["properties"]["data"]["anyOf"]
    with serving(build_app(context)) as url:
        for asked in ({"response_format": "json"}, {"response_format": "verbose_json"}, WORDS):
            fields = {"stream": "true", "include[]": "logprobs", **asked}
            body = httpx.post(f"{url}{SPEECH}", files={"file": WAV}, data=fields).text
            *data, last = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
            assert len(data) == 3
            for one in data:
                valid(described, event["contentSchema"], json.loads(one))
            assert last == end["const"]


def test_every_reference_leads_somewhere(described):
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(described)):
        place = described
        for step in reference.split("/"):
            place = place[step]


def test_every_error_is_json_whatever_a_route_answers_else(described):
    for path in described["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and "content" in answer:
                    assert list(answer["content"]) == ["application/json"]
