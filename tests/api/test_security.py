"""Keys: asked for before a body is read, compared whole, and never told."""

import httpx
import pytest
from fastapi import Depends

from app.api.security import require_admin_key
from app.main import build_app
from app.settings import Settings
from tests.api.conftest import answer_before_the_body, serving
from tests.sound import encode, tone

WAV = encode(tone(1))


@pytest.fixture
def settings():
    return {"api_keys": "first,second", "admin_key": "chief"}


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def post(client, **headers):
    return client.post("/v1/audio/transcriptions", files={"file": WAV}, headers=headers)


@pytest.mark.parametrize("key", ["first", "second", "chief"])
def test_a_known_key_opens(client, key):
    assert post(client, **bearer(key)).status_code == 200
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, bearer("third"), bearer("firs"), {"authorization": "Bearer 鷺".encode()},
                {"authorization": "Basic first"}]
)  # fmt: skip
def test_any_other_is_401_in_the_envelope(client, headers):
    for answer in (post(client, **headers), client.get("/v1/models/mine", headers=headers)):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "first" not in answer.text


def test_health_metrics_and_the_description_are_open(client):
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"):
        assert client.get(path).status_code == 200, path


def test_the_key_is_asked_for_before_the_body_is_read(context):
    with serving(build_app(context)) as url:
        answer = answer_before_the_body(url, "content-length: 1000000")
    assert answer.startswith(b"HTTP/1.1 401")
    assert not context.state.default.admission.under_way


def test_keys_are_not_shown_where_settings_are(context):
    assert "first" not in repr(context.settings)
    assert "chief" not in repr(context.settings)


@pytest.mark.parametrize(("key", "status"), [("chief", 200), ("first", 401)])
def test_admin_routes_take_the_admin_key_alone(context, key, status):
    assert ask_admin(context, bearer(key)) == status


def test_without_an_admin_key_admin_routes_are_closed(context):
    context.settings = Settings(api_keys="first")
    assert ask_admin(context, bearer("first")) == 403


def ask_admin(context, headers):
    app = build_app(context)
    app.get("/admin", dependencies=[Depends(require_admin_key)])(lambda: None)
    with serving(app) as url:
        return httpx.get(f"{url}/admin", headers=headers).status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_alone_no_keys_are_needed(host):
    assert Settings(host=host).api_keys == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_beyond_it_they_are_unless_told_otherwise(host):
    with pytest.raises(ValueError, match="MARLINSCRIBE_API_KEYS"):
        Settings(host=host)
    assert Settings(host=host, api_keys="k").host == host
    assert Settings(host=host, allow_anonymous=True).host == host


@pytest.mark.parametrize("admin_key", ["second", " second "])
def test_an_admin_key_that_is_also_a_clients_is_refused(admin_key):
    with pytest.raises(ValueError, match="MARLINSCRIBE_ADMIN_KEY is one of") as caught:
        Settings(api_keys="first,second", admin_key=admin_key)
    assert "second" not in str(caught.value.errors(include_input=False, include_context=False))


@pytest.mark.parametrize("admin_key", ["", " ", "\t\n"])
def test_a_blank_admin_key_is_no_key(context, admin_key):
    context.settings = Settings(api_keys="first", admin_key=admin_key)
    assert context.settings.admin_key is None
    assert ask_admin(context, bearer("first")) == 403


@pytest.mark.parametrize("settings", [{}])
def test_without_keys_any_key_will_do(client):
    assert post(client, **bearer("whatever")).status_code == 200
    assert post(client).status_code == 200


@pytest.mark.parametrize("settings", [{"cors_origins": "https://a.example", "api_keys": "first"}])
def test_named_origins_may_call_from_a_browser_and_read_errors(client):
    origin = {"origin": "https://a.example"}
    asking = {"access-control-request-method": "POST",
              "access-control-request-headers": "authorization"}  # fmt: skip
    preflight = client.options("/v1/audio/transcriptions", headers=origin | asking)
    assert preflight.status_code == 200
    for answer in (preflight, post(client, **origin)):
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert (
        "access-control-allow-origin"
        not in client.get("/health/live", headers={"origin": "https://b.example"}).headers
    )


@pytest.mark.parametrize("settings", [{}])
def test_no_origin_may_unless_it_is_named(client):
    answer = client.get("/health/live", headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers
