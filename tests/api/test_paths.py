"""Paths, keys and methods as clients of other servers have them."""

import asyncio

import httpx
import openai
import pytest

from app.api.events import EventStream
from app.serving.lifecycle import Stage
from tests.sound import encode, tone

WAV = encode(tone(1))


def post(client, path="/v1/audio/transcriptions", **headers):
    return client.post(path, files={"file": WAV}, headers=headers)


@pytest.mark.parametrize("task", ["transcriptions", "translations"])
def test_audio_is_taken_without_the_version(client, task):
    assert post(client, f"/audio/{task}").json()["text"] == "Mayday."
    route = f'route="/v1/audio/{task}"'
    assert f'method="POST",{route},status="200"}} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("settings", [{"api_keys": "first"}])
def test_groqs_client_finds_its_paths_with_its_key_alone(client):
    key = {"authorization": "Bearer first"}
    assert post(client, "/openai/v1/audio/transcriptions", **key).json()["text"] == "Mayday."
    assert post(client, "/openai/v1/audio/transcriptions").status_code == 401
    listed = client.get("/v1/models", headers=key).json()
    assert client.get("/openai/v1/models", headers=key).json() == listed
    assert client.get("/openai/v1", headers=key).status_code == 404


def test_models_are_listed_without_the_version(client):
    assert client.get("/models").json() == client.get("/v1/models").json()
    assert client.get("/models/mine").status_code == 404  # beside /models/rollback, an admin's


def test_health_is_whether_requests_are_answered(client, context):
    assert client.get("/health").json() == client.get("/health/ready").json()
    context.state.default.lifecycle.enter(Stage.LOADING)
    assert client.get("/health").status_code == 503


@pytest.mark.parametrize("settings", [{"api_keys": "first"}])
def test_azures_client_finds_its_path_its_model_and_its_key(url):
    client = openai.AzureOpenAI(
        azure_endpoint=url, api_key="first", api_version="2024-10-21", max_retries=0
    )
    answer = client.audio.transcriptions.create(model="mine", file=("a.wav", WAV))
    assert answer.text == "Mayday."


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0", "allow_anonymous": True}])
def test_the_model_in_azures_path_is_asked_where_the_form_names_none(client):
    path = "/openai/deployments/{}/audio/transcriptions?api-version=2024-10-21"
    assert post(client, path.format("mine")).status_code == 200
    assert post(client, path.format("gpt-9")).json()["error"]["code"] == "model_not_found"
    files, model = {"file": WAV}, {"model": "mine"}
    assert client.post(path.format("gpt-9"), files=files, data=model).status_code == 200


@pytest.mark.parametrize("settings", [{"api_keys": "first,second"}])
@pytest.mark.parametrize("header", ["api-key", "x-api-key", "X-API-Key"])
def test_a_key_may_be_in_another_header(client, header):
    assert post(client, **{header: "second"}).status_code == 200
    assert client.get("/v1/models", headers={header: "first"}).status_code == 200
    answer = post(client, **{header: "third"})
    assert answer.status_code == 401
    assert "third" not in answer.text
    assert post(client, **{header: ""}).status_code == 401


@pytest.mark.parametrize("settings", [{"api_keys": "first"}])
def test_a_client_is_the_same_whichever_header_has_its_key(client, caplog):
    for headers in ({"authorization": "Bearer first"}, {"api-key": "first"}):
        with caplog.at_level("INFO"):
            post(client, **headers)
    one, other = [record.client for record in caplog.records if hasattr(record, "client")]
    assert one == other
    assert one.startswith("key ")


@pytest.mark.parametrize(
    "path",
    ["/v1/models", "/v1/models/mine", "/health", "/health/live", "/openapi.json", "/docs"],
)
def test_head_is_answered_like_get_without_a_body(url, path):
    answer = httpx.head(f"{url}{path}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == httpx.get(f"{url}{path}").headers["content-type"]


@pytest.mark.parametrize("settings", [{"api_keys": "first"}])
def test_head_asks_for_a_key_where_get_does(url):
    assert httpx.head(f"{url}/v1/models").status_code == 401
    assert httpx.head(f"{url}/v1/models", headers={"api-key": "first"}).status_code == 200


@pytest.mark.anyio
async def test_head_of_a_stream_does_not_wait_for_its_end():
    async def endless():
        await asyncio.Event().wait()
        yield {}

    async def left():
        await asyncio.Event().wait()

    told = []

    async def send(message):
        told.append(message)

    stream = EventStream(
        endless(), heartbeat_seconds=60, on_abort=lambda: None, on_error=lambda code: None
    )
    await stream({"type": "http", "method": "HEAD"}, left, send)
    assert [one["type"] for one in told] == ["http.response.start", "http.response.body"]
