"""marlinscribe transcribe, against a small HTTP server."""

import json
import os
import pty
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler

import pytest

from app.cli import main
from tests.http_server import serving


class Handler(BaseHTTPRequestHandler):
    seen: str | None = None  # the last request's key

    def do_POST(self):
        Handler.seen = self.headers["authorization"]
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"broken" in body:
            self.answer(400, json.dumps({"error": {"message": "not a sound"}}))
        elif b"odd" in body:
            self.answer(502, "<html>")
        else:
            self.answer(200, "Mayday.\n")

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with serving(Handler) as url:
        yield url


@pytest.fixture
def files(tmp_path):
    def named(*names):
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.write_bytes(b"sound")
        return [str(path) for path in paths]

    return named


def test_one_files_text_is_printed_bare(url, files, capsys):
    assert main(["transcribe", "--url", url, *files("a.wav")]) == 0
    assert capsys.readouterr().out == "Mayday.\n"


def test_several_files_are_told_apart(url, files, capsys):
    names = files("a.wav", "b.wav")
    assert main(["transcribe", "--url", url, *names]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{n}\tMayday." for n in names]


@pytest.mark.parametrize(("name", "reason"), [("broken.wav", "not a sound"), ("odd.wav", "502")])
def test_a_refused_file_is_an_error_and_the_others_are_done(url, files, capsys, name, reason):
    assert main(["transcribe", "--url", url, *files(name, "a.wav")]) == 1
    captured = capsys.readouterr()
    assert "a.wav\tMayday." in captured.out
    assert reason in captured.err


def test_a_missing_file_is_an_error(url, capsys):
    assert main(["transcribe", "--url", url, "/no/such.wav"]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_a_bad_setting_is_named_and_nothing_is_started(monkeypatch, capsys):
    monkeypatch.setenv("MARLINSCRIBE_GROUP_SIZE", "100")
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert "MARLINSCRIBE_GROUP_SIZE: Input should be 32, 64, 128, 'channel' or 'auto'" in told


def test_a_server_that_is_not_there_is_an_error(files, capsys):
    assert main(["transcribe", "--url", "http://127.0.0.1:9", *files("a.wav")]) == 1
    assert "a.wav" in capsys.readouterr().err


def test_the_key_is_sent_and_comes_from_the_servers_own_setting(url, files, capsys, monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_API_KEYS", "first, second")
    assert main(["transcribe", "--url", url, *files("a.wav")]) == 0
    assert Handler.seen == "Bearer first"
    assert main(["transcribe", "--url", url, "--key", "mine", *files("a.wav")]) == 0
    assert Handler.seen == "Bearer mine"


def test_transcripts_go_to_standard_output_also_under_a_progress_bar(url, files):
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "app", "transcribe", "--url", url, *files("a.wav", "b.wav")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, timeout=60)
    os.close(terminal)
    os.close(master)
    assert [line.split(b"\t")[1] for line in done.stdout.splitlines()] == [b"Mayday."] * 2


def test_a_port_that_is_taken_is_told_before_anything_is_started(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MARLINSCRIBE_PORT", str(taken.getsockname()[1]))
        assert main(["serve"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "Another program has port" in told
    assert "MARLINSCRIBE_PORT" in told
    assert "Errno" not in told


def test_an_address_of_another_machine_is_told(monkeypatch, capsys):
    monkeypatch.setenv("MARLINSCRIBE_HOST", "192.0.2.1")  # RFC 5737: nobody's
    monkeypatch.setenv("MARLINSCRIBE_API_KEYS", "k")
    assert main(["serve"]) == 1
    assert "has no address 192.0.2.1" in " ".join(capsys.readouterr().err.split())
