"""marlinscribe transcribe, where transcripts are written to files."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from app.cli import main
from app.commands.batch import Batch
from app.commands.rendering import rendered
from tests.http_server import serving
from tests.sound import encode, tone

WAV = encode(tone(1))
WORDS = [
    {"word": "Mayday,", "start": 0.0, "end": 0.4, "probability": 0.5},
    {"word": "over.", "start": 0.5, "end": 0.9},
]
SEGMENT = {"id": 0, "start": 0.0, "end": 0.9, "text": " Mayday, over.", "tokens": [5]}
DONE = {
    "type": "transcript.text.done", "task": "transcribe", "language": "english", "duration": 1.0,
    "text": "Mayday, over.", "segments": [SEGMENT], "words": WORDS,
}  # fmt: skip
SRT = "1\n00:00:00,000 --> 00:00:01,000\nMayday, over.\n\n"


class Handler(BaseHTTPRequestHandler):
    """A server whose answer depends on what the recording's bytes are."""

    lock = threading.Lock()
    bodies: tuple[bytes, ...] = ()
    busy = 0
    at_once = 0
    again = 0  # how often "later" is told to come back
    gate = threading.Event()

    def do_GET(self):
        known = self.headers["authorization"] != "Bearer wrong"
        self.answer(200 if known else 401, {"error": {"message": "The key is not known."}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.lock:
            Handler.bodies += (body,)
            Handler.busy += 1
            Handler.at_once = max(Handler.at_once, Handler.busy)
        try:
            self.hear(body)
        finally:
            with self.lock:
                Handler.busy -= 1

    def hear(self, body):
        if b"noise" in body:
            self.answer(415, {"error": {"message": "The file is not audio.", "param": "file"}})
        elif b"no words" in body and b"timestamp_granularities" in body:
            param = "timestamp_granularities"
            self.answer(400, {"error": {"message": "no times", "param": param}})
        elif b"later" in body and self.comes_back():
            self.answer(503, {"error": {"message": "Starting."}}, {"retry-after": "0"})
        elif b"cut" in body:
            self.stream({"type": "transcript.text.segment", "end": 0.9})
        elif b"lines" in body:
            self.stream(DONE | {"text": "Mayday,\u2028over."})
        elif b"dies" in body:
            self.stream({"error": {"message": "The engine stopped."}})
        else:
            if b"slow" in body:
                Handler.gate.wait(60)
            self.stream({"type": "transcript.text.segment", "end": 0.9}, DONE)

    def comes_back(self):
        Handler.again -= 1
        return Handler.again >= 0

    def stream(self, *events):
        self.send_response(200)
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Handler.bodies, Handler.busy, Handler.at_once, Handler.again = (), 0, 0, 0
    Handler.gate = threading.Event()
    with serving(Handler) as url:
        yield url
        Handler.gate.set()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "talks"
    put(root / "one.wav")
    put(root / "deep" / "two.mp3")
    put(root / "notes.txt")
    put(root / ".hidden" / "three.wav")
    return root


def put(path, content=WAV):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


def run(url, *arguments):
    return main(["transcribe", "--url", url, *map(str, arguments)])


def written(root):
    found = (path for path in root.rglob("*") if path.suffix in (".srt", ".vtt", ".json", ".txt"))
    return sorted(str(path.relative_to(root)) for path in found if path.name != "notes.txt")


def test_a_folder_and_the_folders_in_it_get_transcripts_beside_their_recordings(
    url, folder, capsys
):
    assert run(url, folder, "--format", "srt,txt,json") == 0
    assert written(folder) == [
        "deep/two.json", "deep/two.srt", "deep/two.txt", "one.json", "one.srt", "one.txt",
    ]  # fmt: skip
    assert (folder / "one.srt").read_text() == SRT
    assert (folder / "one.txt").read_text() == "Mayday, over.\n"
    assert json.loads((folder / "one.json").read_text())["words"] == WORDS
    told = capsys.readouterr()
    assert str(folder / "one.srt") in told.out
    assert "2 written (0:00:02 of sound), 0 done before, 0 failed." in told.err


def test_a_recording_is_sent_once_for_all_its_formats(url, folder):
    run(url, folder / "one.wav", "--format", "srt,vtt,txt,json,verbose_json")
    assert len(Handler.bodies) == 1
    assert Handler.bodies[0].count(b"timestamp_granularities[]") == 2


def test_what_is_done_is_left_alone_until_its_recording_is_newer(url, folder, capsys):
    run(url, folder, "--format", "srt")
    assert run(url, folder, "--format", "srt") == 0
    assert len(Handler.bodies) == 2
    assert "0 written (0:00:00 of sound), 2 done before" in capsys.readouterr().err
    os.utime(folder / "one.wav")
    (folder / "one.srt").touch()
    os.utime(folder / "one.srt", (1e9, 1e9))
    run(url, folder, "--format", "srt")
    assert len(Handler.bodies) == 3
    run(url, folder, "--format", "srt,txt")  # a format that is missing
    assert len(Handler.bodies) == 5
    run(url, folder, "--format", "srt", "--again")
    assert len(Handler.bodies) == 7


def test_another_folder_gets_the_folders_of_what_is_transcribed(url, folder, tmp_path):
    out = tmp_path / "out"
    assert run(url, folder, "--format", "vtt", "--out", out) == 0
    assert written(out) == ["deep/two.vtt", "one.vtt"]
    assert written(folder) == []


def test_recordings_that_differ_in_their_suffix_keep_it(folder):
    put(folder / "one.mp3")
    recordings = Batch((folder,), ("srt",)).recordings()
    assert [one.targets["srt"].name for one in recordings] == [
        "one.mp3.srt", "one.wav.srt", "two.srt",
    ]  # fmt: skip


def test_transcripts_that_would_take_each_others_place_are_told(url, tmp_path, capsys):
    paths = [put(tmp_path / name / "talk.wav") for name in "ab"]
    assert run(url, *paths, "--out", tmp_path / "out") == 1
    assert written(tmp_path / "out") == ["talk.txt"]
    assert f"{paths[1]}: its transcript would take another file's place" in capsys.readouterr().err
    assert len(Handler.bodies) == 1


def test_one_that_is_refused_is_told_and_the_others_are_done(url, folder, capsys):
    put(folder / "bad.wav", b"noise")
    assert run(url, folder, "--format", "txt") == 1
    assert written(folder) == ["deep/two.txt", "one.txt"]
    told = capsys.readouterr().err
    assert f"{folder / 'bad.wav'}: 415: The file is not audio." in told
    assert "1 failed" in told


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"cut", "the server broke off its answer"), (b"dies", "The engine stopped.")],
)
def test_half_an_answer_leaves_no_file(url, tmp_path, capsys, content, why):
    path = put(tmp_path / "one.wav", content)
    assert run(url, path, "--save") == 1
    assert sorted(tmp_path.iterdir()) == [path]
    assert why in capsys.readouterr().err


def test_a_server_that_says_when_to_come_back_is_asked_again(url, tmp_path):
    path = put(tmp_path / "one.wav", b"later")
    Handler.again = 3
    assert run(url, path, "--save") == 0
    assert len(Handler.bodies) == 4


def test_a_model_without_times_for_words_is_asked_for_none(url, tmp_path):
    put(tmp_path / "one.wav", b"no words")
    put(tmp_path / "two.wav", b"no words")
    assert run(url, tmp_path, "--format", "srt", "--at-once", "1") == 0
    assert len(Handler.bodies) == 3


def test_a_separator_of_lines_within_a_text_ends_no_event(url, tmp_path):
    put(tmp_path / "one.wav", b"lines")
    assert run(url, tmp_path) == 0
    assert (tmp_path / "one.txt").read_text("utf-8") == "Mayday,\u2028over.\n"


@pytest.mark.parametrize("at_once", ["1", "3"])
def test_no_more_are_sent_at_once_than_is_asked_for(url, tmp_path, at_once):
    for number in range(8):
        put(tmp_path / f"{number}.wav")
    assert run(url, tmp_path, "--format", "txt", "--at-once", at_once) == 0
    assert 1 <= Handler.at_once <= int(at_once)
    assert len(Handler.bodies) == 8


def test_a_wrong_key_is_told_once_and_not_for_every_recording(url, folder, capsys):
    assert run(url, folder, "--key", "wrong") == 1
    told = capsys.readouterr().err
    assert told.count("The key is not known.") == 1
    assert not Handler.bodies


def test_a_folder_without_recordings_is_told(url, tmp_path, capsys):
    assert run(url, tmp_path) == 1
    assert "There are no recordings." in capsys.readouterr().err


def test_a_recording_that_is_not_there_is_told_in_words(url, tmp_path, capsys):
    assert run(url, tmp_path / "none.wav", "--save") == 1
    told = capsys.readouterr().err
    assert "there is no such file" in told
    assert "Errno" not in told


@pytest.mark.parametrize("address", ["localhost:{port}", "http://127.0.0.1:{port}/v1/"])
def test_an_address_may_lack_its_scheme_or_have_the_version(url, folder, address):
    address = address.format(port=url.rsplit(":", 1)[1])
    assert run(address, folder, "--format", "txt") == 0


@pytest.mark.parametrize("address", ["", "ftp://x", "http://", "http://[", "a b"])
def test_what_is_no_address_is_told_in_words(folder, capsys, address):
    for command in ("transcribe", "evaluate"):
        assert main([command, "--url", address, str(folder)]) == 2
        assert "is no server's address" in capsys.readouterr().err


def test_where_no_server_is_that_is_said_once_with_what_helps(folder, capsys):
    assert run("http://127.0.0.1:9", folder) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "No server answers at http://127.0.0.1:9: start one" in told
    assert "Errno" not in told
    assert told.count("No server") == 1


def test_a_format_that_there_is_none_of_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as caught:
        run("http://x", folder, "--format", "srt,docx")
    assert caught.value.code == 2
    assert "srt,docx" in capsys.readouterr().err


def command(url, *arguments):
    whole = [sys.executable, "-m", "app", "transcribe", "--url", url, *map(str, arguments)]
    return subprocess.Popen(
        whole,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c():
    """What runs in a shell's background, tests too, has SIGINT ignored, and so would its child."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_leaves_whole_files_alone_and_the_next_run_does_the_rest(url, tmp_path):
    put(tmp_path / "one.wav")
    put(tmp_path / "two.wav", b"slow")
    process = command(url, tmp_path, "--format", "srt,txt")
    until(lambda: (tmp_path / "one.txt").exists() and Handler.busy)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the next run does the rest" in told
    assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "one.srt", "one.txt", "one.wav", "two.wav",
    ]  # fmt: skip
    Handler.gate.set()
    assert run(url, tmp_path, "--format", "srt,txt") == 0
    assert len(Handler.bodies) == 3


def test_a_watched_folder_gives_transcripts_of_what_comes_until_ctrl_c(url, tmp_path):
    put(tmp_path / "one.wav")
    process = command(url, tmp_path, "--watch", "--format", "txt")
    assert process.stdout.readline().strip() == str(tmp_path / "one.txt")
    put(tmp_path / "sub" / "two.wav")
    assert process.stdout.readline().strip() == str(tmp_path / "sub" / "two.txt")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"2 written .*, 0 failed", told)


def test_words_get_back_the_spaces_that_the_body_left_out():
    assert rendered(DONE, "srt") == SRT
    assert rendered(DONE | {"words": []}, "vtt").startswith("WEBVTT")
    odd = DONE | {"words": [{"word": "else", "start": 0, "end": 1}]}
    assert "Mayday, over." in rendered(odd, "srt")
