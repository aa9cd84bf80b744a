"""What a browser, a load balancer and a hasty client meet at the service's edges."""

import httpx
import pytest

from app.main import build_app
from app.serving.lifecycle import Stage
from tests.api.conftest import serving
from tests.sound import encode, tone

WAV = encode(tone(1))
ORIGIN = {"origin": "https://a.example"}


def post(url, path="/v1/audio/transcriptions", **kwargs):
    return httpx.post(f"{url}{path}", files={"file": WAV}, **kwargs)


@pytest.mark.parametrize("settings", [{"cors_origins": "https://a.example"}])
def test_a_page_may_read_that_the_server_failed_and_under_which_id(url, transcriber):
    transcriber.error = ZeroDivisionError("secret")
    answer = post(url, headers=ORIGIN | {"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
    assert answer.headers["x-request-id"] == "mine"
    assert "secret" not in answer.text


def test_a_failure_is_logged_once_and_counted(url, transcriber, caplog):
    transcriber.error = ZeroDivisionError("secret")
    post(url)
    assert len([record for record in caplog.records if record.exc_info]) == 1
    route = 'route="/v1/audio/transcriptions"'
    text = httpx.get(f"{url}/metrics").text
    assert f'marlinscribe_requests_total{{method="POST",{route},status="500"}} 1.0' in text


def test_an_answer_that_fails_after_its_beginning_is_cut_off(context):
    app = build_app(context)

    app.router.add_route("/half", HalfAnswer)
    with serving(app) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/half")


class HalfAnswer:
    def __init__(self, scope, receive, send):
        self.send = send

    def __await__(self):
        return self.answer().__await__()

    async def answer(self):
        headers = [(b"content-length", b"9")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        raise ZeroDivisionError


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_slash_at_the_end_of_a_path_changes_nothing(url, slashes):
    foreign = {"host": "evil.example"}
    assert post(url, f"/v1/audio/transcriptions{slashes}", headers=foreign).status_code == 200
    models = httpx.get(f"{url}/v1/models{slashes}", headers=foreign)
    assert models.json()["data"][0]["id"] == "mine"
    assert httpx.get(f"{url}/v1/models/mine{slashes}", headers=foreign).json()["id"] == "mine"


@pytest.mark.parametrize("path", ["/nothing/", "/", "//evil.example/", "/docs/oauth2-redirect/"])
def test_no_path_leads_to_where_a_client_says_the_service_is(url, path):
    answer = httpx.get(f"{url}{path}", headers={"host": "evil.example"})
    assert "location" not in answer.headers
    assert "evil.example/" not in answer.text.replace(path, "")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_what_watches_may_ask_by_head(url, context, path):
    answer = httpx.head(f"{url}{path}")
    assert (answer.status_code, answer.content) == (200, b"")
    context.state.default.lifecycle.enter(Stage.LOADING)
    answer = httpx.head(f"{url}/health/ready")
    assert (answer.status_code, answer.content) == (503, b"")
    assert answer.headers["retry-after"]


def test_a_method_that_is_not_allowed_names_those_that_are(url):
    answer = httpx.delete(f"{url}/health/live")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
