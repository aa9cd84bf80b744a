"""marlinscribe evaluate, against a small HTTP server that hears what it is told to."""

import json
import re
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest

from app.cli import main
from app.errors import NoCalibration
from app.quantization.quantizer_process import Quantizer
from tests.http_server import serving

HEARD = {
    "right.wav": ("We need a tow.", "english"),
    "wrong.wav": ("We need a toe.", "english"),
    "zh.wav": ("这里进水", "chinese"),
}


class Handler(BaseHTTPRequestHandler):
    told: ClassVar[list[str]] = []  # the languages that were sent

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode("latin-1")
        name = re.search(r'filename="([^"]+)"', body)[1]
        Handler.told += re.findall(r'name="language"\r\n\r\n(\w+)', body)
        if name not in HEARD:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "not a sound"}}')
            return
        text, language = HEARD[name]
        self.send_response(200)
        self.end_headers()
        answer = {"text": text, "language": language, "duration": 2.0}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Handler.told = []
    with serving(Handler) as url:
        yield url


@pytest.fixture
def manifest(tmp_path):
    def of(*rows):
        for name, _, _ in rows:
            (tmp_path / name).write_bytes(b"sound")
        lines = [json.dumps({"audio": a, "language": lang, "text": t}) for a, lang, t in rows]
        path = tmp_path / "manifest.jsonl"
        path.write_text("\n".join(lines), "utf-8")
        return str(path)

    return of


ROWS = [
    ("right.wav", "en", "we need a tow"),
    ("wrong.wav", "en", "We need a tow."),
    ("zh.wav", "zh-TW", "這裡進水"),
]


def evaluated(url, tmp_path, *arguments):
    out = tmp_path / "out.json"
    status = main(["evaluate", "--url", url, "--json", str(out), *arguments])
    return status, json.loads(out.read_text("utf-8"))


def test_rates_are_by_language_and_every_answer_is_kept(url, manifest, tmp_path, capsys):
    status, report = evaluated(url, tmp_path, manifest(*ROWS))
    assert status == 0
    assert report["languages"]["en"]["rates"]["wer"]["value"] == 1 / 8
    assert report["languages"]["zh"]["rates"] == {"cer": {"value": 0, "low": 0, "high": 0}}
    assert report["languages"]["zh"]["as_written"]["value"] == 3 / 4
    assert [one["heard"] for one in report["recordings"]] == [text for text, _ in HEARD.values()]
    assert "12.5%" in capsys.readouterr().out


def test_the_language_is_told_or_left_to_the_server(url, manifest, tmp_path):
    path = manifest(*ROWS)
    evaluated(url, tmp_path, path)
    assert sorted(Handler.told) == ["en", "en", "zh"]
    evaluated(url, tmp_path, path, "--detect")
    assert len(Handler.told) == 3


def test_a_recording_without_an_answer_counts_as_lost_and_is_named(url, manifest, tmp_path, capsys):
    status, report = evaluated(
        url, tmp_path, manifest(*ROWS, ("broken.wav", "en", "All crew are safe."))
    )
    assert status == 1
    assert report["languages"]["en"]["rates"]["wer"]["value"] == 5 / 12
    assert "broken.wav: 400: not a sound" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nowhere", "."])
def test_a_source_without_recordings_is_an_error(url, tmp_path, monkeypatch, capsys, source):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--url", url, source]) == 1
    assert capsys.readouterr().err


def test_a_hubs_set_is_copied_once_and_only_as_much_as_is_asked_for(
    url, tmp_path, monkeypatch, capsys
):
    asked = []

    def copy(_, source, language, samples, folder):
        asked.append((source, samples))
        if source == "librispeech:other":
            raise NoCalibration("librispeech:other was not copied: no route.", "")
        (folder / "right.wav").write_bytes(b"sound")
        row = {"audio": "right.wav", "text": "We need a tow.", "language": "en"}
        (folder / "manifest.jsonl").write_text(json.dumps(row))

    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(Quantizer, "copy", copy)
    for _ in range(2):
        status, report = evaluated(url, tmp_path, "librispeech", "--samples", "5")
        assert (status, report["languages"]["en"]["recordings"]) == (0, 1)
    assert main(["evaluate", "--url", url, "librispeech:other"]) == 1
    assert "no route" in capsys.readouterr().err
    assert asked == [("librispeech", 5), ("librispeech:other", None)]


def test_the_first_samples_alone_are_sent_where_so_many_are_asked_for(url, manifest, tmp_path):
    _, report = evaluated(url, tmp_path, manifest(*ROWS), "--samples", "2")
    assert len(report["recordings"]) == 2
