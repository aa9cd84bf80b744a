"""A hub's checkpoint is served from the cache when the hub cannot be asked; with what was made."""

import json
import logging
import shutil
import socket
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from huggingface_hub import constants

import app.sources.hub
from app.environment import DEMO
from app.errors import BadSource
from app.quantization.builder import CheckpointBuilder, checkpoint_of
from app.quantization.quantizer_process import Quantizer
from app.settings import Settings
from app.sources.resolve import resolve
from tests.http_server import serving

MODEL = "acme/marine-radio"
REVISION = "0123456789abcdef0123456789abcdef01234567"
ADVICE = "Check the network"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The demo checkpoint, as if it had been downloaded; its snapshot."""
    model = tmp_path / "hub" / f"models--{MODEL.replace('/', '--')}"
    snapshot, blobs = model / "snapshots" / REVISION, model / "blobs"
    for folder in (snapshot, blobs, model / "refs"):
        folder.mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION)
    for file in (DEMO / "marine-radio").iterdir():
        shutil.copy(file, blobs / f"blob-of-{file.name}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"blob-of-{file.name}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return snapshot


def answering(status, body, **headers):
    """A hub that always says the same."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"content-length": len(content)} | headers).items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Hub


@pytest.fixture
def silent_server():
    """It accepts connections and says nothing, as a hanging proxy does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=["offline", "refused", "no name", "silent", "silent proxy", "broken"])
def unreachable(request, monkeypatch, silent_server):
    """Every way a hub can be out of reach."""
    monkeypatch.setattr(app.sources.hub, "_SECONDS", 0.2)
    with serving(answering(503, {"error": "down"})) as broken:
        match request.param:
            case "offline":
                monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
            case "refused":
                monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
            case "no name":
                monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
                monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
            case "silent":
                monkeypatch.setattr(constants, "ENDPOINT", silent_server)
            case "silent proxy":
                monkeypatch.setenv("HTTP_PROXY", silent_server)
                monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
            case "broken":
                monkeypatch.setattr(constants, "ENDPOINT", broken)
        yield request.param


def _no_such_name(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


def test_what_is_cached_is_served_and_it_is_said_that_it_may_be_old(
    hub_cache, unreachable, caplog, tmp_path
):
    begun = time.monotonic()
    source = resolve(MODEL, tmp_path)
    assert (source.name, source.folder, source.revision) == (MODEL, hub_cache, REVISION)
    assert "cannot be asked whether there is a newer one" in caplog.text
    assert time.monotonic() - begun < 60


def test_what_is_not_cached_cannot_be_had_and_the_reason_is_told(hub_cache, unreachable, tmp_path):
    with pytest.raises(BadSource, match="not in the cache") as caught:
        resolve("acme/another", tmp_path)
    assert ADVICE in caught.value.advice


def test_half_a_download_is_not_served(hub_cache, unreachable, tmp_path):
    (hub_cache / "model.safetensors").unlink()
    with pytest.raises(BadSource, match="no weights"):
        resolve(MODEL, tmp_path)


def test_weights_of_which_a_part_is_missing_are_not_served(hub_cache, unreachable, tmp_path):
    shards = {f"layer{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    (hub_cache / "model.safetensors").rename(hub_cache / shards["layer1"])
    index = hub_cache / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(BadSource, match="lacks model-00002-of-00002"):
        resolve(MODEL, tmp_path)


def test_what_was_made_of_it_is_found_by_a_later_start(
    hub_cache, unreachable, tmp_path, monkeypatch
):
    """Even where calibration would need the hub."""

    def fill(self, folder, out, recipe, on_progress):
        made.append(folder)
        shutil.copy(hub_cache / "config.json", out)
        return {"seconds": 0.1}

    made, settings = [], Settings(model=MODEL, cache_dir=tmp_path / "cache", device="cpu")
    assert settings.calibration is None
    monkeypatch.setattr(Quantizer, "versions", lambda _: {"quantizer": "1"})
    monkeypatch.setattr(Quantizer, "make", fill)
    first, second = (
        checkpoint_of(settings, "cpu", CheckpointBuilder(settings), lambda *_, **__: None)
        for _ in range(2)
    )
    assert made == [hub_cache]
    assert first.folder == second.folder
    assert second.source.name == MODEL


def test_a_hub_that_answers_is_believed(hub_cache, monkeypatch, caplog):
    """Then what it has is downloaded, as far as the cache lacks it."""
    caplog.set_level(logging.WARNING)
    with serving(answering(200, {"id": MODEL, "sha": REVISION, "siblings": []})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub)
        assert app.sources.hub._why_unreachable(MODEL) is None
    assert caplog.text == ""


def test_a_hub_that_has_no_such_model_says_so(hub_cache, monkeypatch, tmp_path):
    gone = answering(404, {"error": "Repository not found"}, x_error_code="RepoNotFound")
    with serving(gone) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub)
        with pytest.raises(BadSource, match="The hub has no acme/another"):
            resolve("acme/another", tmp_path)
