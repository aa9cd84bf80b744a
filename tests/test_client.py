"""What the command line says of servers and files."""

import errno

import httpx
import pytest

from app.client import explained, own_url, server_url


@pytest.mark.parametrize(
    ("set_up", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"PORT": "8100"}, "http://127.0.0.1:8100"),
        ({"PORT": "none", "HOST": " "}, "http://127.0.0.1:8000"),
        ({"HOST": "0.0.0.0", "PORT": "1"}, "http://127.0.0.1:1"),
        ({"HOST": "10.0.0.5"}, "http://10.0.0.5:8000"),
        ({"HOST": "::1"}, "http://[::1]:8000"),
    ],
)
def test_commands_ask_the_server_that_these_settings_start(monkeypatch, set_up, url):
    for name in ("HOST", "PORT"):
        monkeypatch.delenv(f"MARLINSCRIBE_{name}", raising=False)
    for name, value in set_up.items():
        monkeypatch.setenv(f"MARLINSCRIBE_{name}", value)
    assert own_url() == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8100", "http://localhost:8100"),
        ("http://x:1/", "http://x:1"),
        ("https://x/v1", "https://x"),
        ("https://x/speech/v1/", "https://x/speech"),
    ],
)
def test_an_address_is_understood_as_people_write_it(text, url):
    assert server_url(text) == url


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a.wav"), "a.wav: there is no such file."),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "a: that is a folder."),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full."),
        (OSError(errno.EIO, "Input/output error", "a"), "a: input/output error."),
        (httpx.ConnectError("[Errno 111] Connection refused"), "No server answers at http://x"),
        (httpx.ReadTimeout("timed out"), "The server at http://x fell silent."),
        (httpx.RemoteProtocolError("broken"), "What answers at http://x broke off"),
        (ValueError("so it is"), "so it is"),
    ],
)
def test_errors_are_told_in_words_without_their_numbers(error, told):
    said = explained(error, "http://x")
    assert said.startswith(told)
    assert "Errno" not in said
