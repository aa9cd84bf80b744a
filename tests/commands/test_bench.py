"""marlinscribe bench, against a small HTTP server that keeps the metrics that ours keeps."""

import asyncio
import json
import math
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from app.cli import main
from app.client import connect_async
from app.commands import bench
from app.commands.load import Answer, Asker, Bound, Load, Recording
from app.commands.server_metrics import ENGINE, STAGES, Between, Look, what_serves
from app.metrics import Metrics
from tests.http_server import serving
from tests.sound import encode, tone

ROUTE = "/v1/audio/transcriptions"
MODELS = {"data": [{"id": "tiny", "marlinscribe": {"scheme": "W4A16", "kernels": "Fast"}}]}
STAGE_SECONDS = {"upload": 0.1, "decode_queue": 0.1, "decode": 0.2, "vad": 0.1}


class Handler(BaseHTTPRequestHandler):
    """A server that hears what the last bytes of a recording's name say."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    metrics = Metrics()
    windows = 0
    bodies: tuple[bytes, ...] = ()
    busy = 0
    most = 0
    started = 1000
    streams = True
    has_metrics = True
    refuse: tuple[int, str] | None = None
    refuse_from = 0  # the number of the first request that is refused

    def do_GET(self):
        if self.path == "/metrics":
            self.answer(200 if self.has_metrics else 404, self.exposition(), "text/plain")
        elif self.headers["authorization"] == "Bearer wrong":
            self.answer(401, b'{"error": {"message": "The key is not known."}}')
        else:
            self.answer(200, json.dumps(MODELS).encode())

    def exposition(self):
        text = self.metrics.exposition().decode()
        lines = [one for one in text.splitlines() if "process_start_time_seconds" not in one]
        lines.append(f"process_start_time_seconds {Handler.started}")
        for part, seconds in (("prefill", 0.2), ("decode", 0.1)):
            lines.append(f"vllm:request_{part}_time_seconds_sum {seconds * self.windows}")
        return "\n".join([*lines, ""]).encode()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.lock:
            Handler.bodies += (body,)
            number = len(Handler.bodies)
            Handler.busy += 1
            Handler.most = max(Handler.most, Handler.busy)
        time.sleep(0.01)
        with self.lock:
            Handler.busy -= 1
        if self.refuse and number > self.refuse_from:
            status, code = self.refuse
            self.metrics.refused.labels(ROUTE, code).inc()
            self.account(status)
            told = json.dumps({"error": {"message": "not now", "code": code}})
            self.answer(status, told.encode(), later="0")
        else:
            self.account(200)
            self.hear(body)

    def account(self, status):
        with self.lock:
            Handler.windows += 1
        self.metrics.answered("POST", ROUTE, status, 1.0)
        for name, seconds in STAGE_SECONDS.items():
            getattr(self.metrics, name).observe(seconds)
        model = self.metrics.of("tiny")
        model.queue.observe(0.1)
        model.window_queue.observe(0.1)
        model.inter_token.observe(0.02)

    def hear(self, body):
        text = "We need a toe." if b"wrong.wav" in body else "We need a tow."
        if b'name="stream"' not in body or not self.streams:
            self.answer(200, json.dumps({"text": text}).encode())
            return
        events: list[dict] = [{"type": "transcript.text.delta", "delta": text}]
        if b"cut.wav" not in body:
            events.append({"type": "transcript.text.done", "text": text})
        if b"dies.wav" in body:
            events[1:] = [{"error": {"message": "The engine died.", "code": "engine_died"}}]
        frames = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self.answer(200, frames.encode(), "text/event-stream")

    def answer(self, status, content, kind="application/json", later=""):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        if later:
            self.send_header("retry-after", later)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setattr(bench, "SETTLE_SECONDS", 0.0)
    fresh = {
        "metrics": Metrics(), "windows": 0, "bodies": (), "busy": 0, "most": 0, "started": 1000,
        "streams": True, "has_metrics": True, "refuse": None, "refuse_from": 0,
    }  # fmt: skip
    for name, value in fresh.items():
        setattr(Handler, name, value)
    with serving(Handler) as url:
        yield url


@pytest.fixture
def files(tmp_path):
    def named(*names):
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.write_bytes(encode(tone(2)))
        return [str(path) for path in paths]

    return named


def measured(capsys, url, *arguments):
    """The status, and what was told in JSON."""
    status = main(["bench", "--url", url, "--json", *arguments])
    out = capsys.readouterr().out
    return status, json.loads(out) if out else {}


def test_each_load_has_its_speed_and_where_the_time_went(url, files, capsys):
    status, told = measured(
        capsys, url, *files("a.wav", "b.wav"), "--concurrency", "1,3", "--requests", "6"
    )
    assert status == 0
    assert told["server"] == {"url": url, "model": "tiny", "scheme": "W4A16", "kernels": "Fast"}
    assert [one["load"] for one in told["loads"]] == ["1 at once", "3 at once"]
    for one in told["loads"]:
        assert (one["requests"], one["succeeded"], one["notes"]) == (6, 6, [])
        assert one["rtfx"] == pytest.approx(2 * one["requests_per_second"])
        assert 0 < one["latency"]["p50"] <= one["latency"]["p95"] <= one["latency"]["p99"]
        assert 0 < one["ttft"]["p50"] <= one["latency"]["p99"]
        assert one["stages"] == pytest.approx(
            {"upload": 0.1, "decoder queue": 0.1, "audio decode": 0.2, "speech search": 0.1,
             "queue": 0.1, "engine": 0.4}
        )  # fmt: skip
        assert one["engine"] == pytest.approx(
            {"engine queue": 1 / 4, "prefill": 1 / 2, "decode": 1 / 4}
        )
        assert one["token"] == pytest.approx(0.02)


def test_so_many_clients_ask_at_once_and_warm_up_before(url, files, capsys):
    measured(capsys, url, *files("a.wav"), "--concurrency", "3", "--requests", "9")
    assert Handler.most <= 3
    assert len(Handler.bodies) == 3 + 9
    measured(capsys, url, *files("a.wav"), "--concurrency", "1", "--requests", "2", "--warmup", "5")
    assert len(Handler.bodies) == 12 + 5 + 2


def test_the_tables_are_for_people(url, files, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    asked = ["bench", "--url", url, *files("a.wav"), "--concurrency", "2", "--requests", "4"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    for words in ("2 at once", "RTFx", "TTFT p50 ms", "tiny, W4A16, Fast", "40.0%", "prefill"):
        assert words in told


def test_requests_that_arrive_at_a_rate_do_not_wait_for_each_other(url, files, capsys):
    status, told = measured(capsys, url, *files("a.wav"), "--rate", "500", "--requests", "40")
    assert status == 0
    assert told["loads"][0]["load"] == "500 a second"
    assert Handler.most > 1


def test_a_load_lasts_so_many_seconds_and_has_one_request_at_least(url, files, capsys):
    _, told = measured(capsys, url, *files("a.wav"), "--concurrency", "1", "--seconds", "0.001")
    assert told["loads"][0]["requests"] == 1
    _, told = measured(capsys, url, *files("a.wav"), "--concurrency", "1", "--seconds", "0.5")
    assert told["loads"][0]["requests"] > 1


def test_model_and_language_are_sent_and_whole_answers_asked_for(url, files, capsys):
    asked = ("--language", "zh", "--model", "tiny", "--no-stream", "--requests", "1")
    _, told = measured(capsys, url, *files("a.wav"), "--concurrency", "1", *asked)
    assert b'name="language"\r\n\r\nzh\r\n' in Handler.bodies[-1]
    assert b'name="model"\r\n\r\ntiny\r\n' in Handler.bodies[-1]
    assert b'name="stream"' not in Handler.bodies[-1]
    assert told["loads"][0]["ttft"] == {"p50": None, "p95": None}


def test_a_server_that_does_not_stream_and_has_no_metrics_of_ours_is_measured_too(
    url, files, capsys
):
    Handler.streams = Handler.has_metrics = False
    status, told = measured(capsys, url, *files("a.wav"), "--concurrency", "1", "--requests", "2")
    assert status == 0
    (one,) = told["loads"]
    assert (one["succeeded"], one["stages"], one["engine"], one["token"]) == (2, {}, {}, None)
    assert main(["bench", "--url", url, *files("a.wav"), "--requests", "1"]) == 0
    assert "Where" not in capsys.readouterr().out


def test_known_words_give_error_rates_by_words_and_by_characters(url, files, tmp_path, capsys):
    files("right.wav", "wrong.wav", "zh.wav")
    rows = [
        {"audio": "right.wav", "text": "we need a tow"},
        {"audio": "wrong.wav", "text": "We need a tow."},
        {"audio": "zh.wav", "text": "We need a tow?", "language": "zh"},
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    status, told = measured(
        capsys, url, "--reference", str(manifest), "--concurrency", "1", "--requests", "7"
    )
    assert status == 0
    assert (told["loads"][0]["wer"], told["loads"][0]["cer"]) == (1 / 8, 0)
    assert measured(capsys, url, "--reference", str(manifest), *files("zh.wav"),
                    "--requests", "1", "--concurrency", "1")[1]["loads"][0]["cer"] == 0  # fmt: skip
    assert main(["bench", "--url", url, "--reference", str(manifest), *files("x.wav")]) == 1
    assert "the words of none of these recordings" in capsys.readouterr().err
    assert main(["bench", "--url", url, "--reference", "nowhere", *files("x.wav")]) == 1
    assert "nowhere holds no recordings with text" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "code"), [("dies.wav", "engine_died"), ("cut.wav", "broken_off")])
def test_streams_that_end_without_a_transcript_are_counted_by_code(url, files, capsys, name, code):
    asked = ("--concurrency", "1", "--requests", "4", "--warmup", "2")
    status, told = measured(capsys, url, *files("a.wav", name), *asked)
    assert status == 0
    (one,) = told["loads"]
    assert (one["requests"], one["succeeded"], one["errors"]) == (4, 2, {code: 2})
    assert any(code in note for note in one["notes"])


def test_refusals_are_told_as_the_server_counts_them(url, files, capsys):
    Handler.refuse, Handler.refuse_from = (429, "too_many_requests"), 3
    asked = ("--concurrency", "1", "--requests", "5")
    status, told = measured(capsys, url, *files("a.wav"), *asked)
    assert status == 0
    assert told["loads"][0]["errors"] == {"too_many_requests": 3}
    assert "The server refused requests: too_many_requests 3 x." in told["loads"][0]["notes"]


def test_where_nothing_is_transcribed_the_status_says_so(url, files, capsys):
    Handler.refuse = (503, "not_ready")
    assert main(["bench", "--url", url, *files("a.wav"), "--requests", "2"]) == 1
    captured = capsys.readouterr()
    assert "Nothing was transcribed (not_ready): 503: not now" in captured.err
    assert captured.out == ""
    Handler.refuse_from = len(Handler.bodies) + 1  # once it is warm
    status, told = measured(capsys, url, *files("a.wav"), "--concurrency", "1", "--requests", "2")
    assert (status, told["loads"][0]["succeeded"]) == (1, 0)


def test_what_is_no_audio_is_named_before_anything_is_asked(url, tmp_path, capsys):
    path = tmp_path / "notes.wav"
    path.write_bytes(b"no sound at all, but a few words")
    assert main(["bench", "--url", url, str(path)]) == 1
    told = capsys.readouterr().err
    assert "notes.wav: The file is not audio" in told
    assert Handler.bodies == ()
    assert main(["bench", "--url", url, str(tmp_path / "none.wav")]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told(files, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert main(["bench", "--url", url, *files("a.wav")]) == 1
    assert f"No server answers at {url}" in capsys.readouterr().err
    assert main(["bench", "--url", "::", *files("a.wav")]) == 2


def test_what_was_measured_before_ctrl_c_is_shown(url, files, capsys, monkeypatch):
    loads = []
    closed = Asker.closed

    async def until_the_fourth(*asked):
        loads.append(asked)
        if len(loads) == 4:
            raise KeyboardInterrupt
        return await closed(*asked)

    monkeypatch.setattr(Asker, "closed", until_the_fourth)
    status, told = measured(capsys, url, *files("a.wav"), "--requests", "1")
    assert status == 130
    assert [one["load"] for one in told["loads"]] == ["1 at once"]


def test_a_wrong_key_is_told(url, files, capsys):
    assert main(["bench", "--url", url, "--key", "wrong", *files("a.wav")]) == 1
    assert "The key is not known." in capsys.readouterr().err


@pytest.mark.parametrize("asked", [[], ["empty"]])
def test_where_there_are_no_recordings_it_says_so(url, tmp_path, capsys, asked):
    (tmp_path / "empty").mkdir()
    assert main(["bench", "--url", url, *(str(tmp_path / one) for one in asked)]) == 1
    assert "There are no recordings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--concurrency", "0"],
        ["--concurrency", "1,x"],
        ["--rate", "-1"],
        ["--rate", "1", "--concurrency", "1"],
        ["--requests", "1", "--seconds", "1"],
    ],
)
def test_wrong_options_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "a.wav", *wrong])
    assert ended.value.code == 2
    assert capsys.readouterr().err


def look_at(**changed):
    values = {
        "process_start_time_seconds": 1000.0,
        'marlinscribe_engine_restarts_total{model="m",reason="died"}': 0.0,
        f'marlinscribe_request_duration_seconds_count{{route="{ROUTE}"}}': 5.0,
    }
    return Look.of("".join(f"{name} {value}\n" for name, value in (values | changed).items()))


def test_a_server_that_was_started_anew_and_engines_that_were_are_told():
    before = look_at()
    assert Between(before, look_at()).notes(0) == []
    anew = Between(before, look_at(process_start_time_seconds=1100.0))
    assert anew.notes(5) == ["The server was started anew meanwhile."]
    assert anew.requests == 5
    died = look_at(**{'marlinscribe_engine_restarts_total{model="m",reason="died"}': 2.0})
    assert Between(before, died).notes(0) == ["An engine was started again (died, 2 x)."]


def test_requests_of_others_are_told():
    after = look_at(**{f'marlinscribe_request_duration_seconds_count{{route="{ROUTE}"}}': 12.0})
    assert Between(look_at(), after).notes(4) == ["3 requests of others were answered meanwhile."]


def test_without_an_answered_request_there_are_no_shares():
    idle = Between(look_at(), look_at())
    assert (idle.stages(), idle.engine(), idle.token_seconds()) == ({}, {}, None)


@pytest.mark.parametrize("text", ["<html>", "up 1\n", "", '{"detail": "no"}'])
def test_what_is_no_exposition_of_ours_tells_nothing(text):
    assert Look.of(text) is None


def test_the_stages_are_metrics_that_the_service_has():
    metrics = Metrics()
    metrics.of("m")
    told = metrics.exposition().decode()
    ours = [name for name in (*STAGES.values(), *ENGINE.values()) if name.startswith("marlin")]
    assert len(ours) == 6
    assert all(f"# TYPE {name} histogram" in told for name in ours)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": []}', '{"data": [{"id": "x"}]}'])
def test_another_servers_models_are_told_as_far_as_they_are(body):
    assert what_serves(httpx.Response(200, text=body)) in ({}, {"model": "x"})


def test_quantiles_are_of_transcripts_alone():
    one = Recording(Path("a.wav"), 3.0)
    answers = [Answer(one, 0.0, float(n)) for n in range(1, 11)]
    load = Load((*answers, Answer(one, 0.0, 100.0, code="429")))
    assert (load.latency(0.5), load.latency(0.95), load.latency(0.99)) == (6.0, 10.0, 10.0)
    assert load.first_text(0.5) is None
    assert load.rtfx == pytest.approx(30 / 100)


def test_arrivals_are_the_same_each_time_and_as_many_as_asked_for(monkeypatch):
    """Of a hundred a second, over two seconds of a clock that sleeping alone moves."""
    clock = [0.0]

    async def sleep(seconds):
        clock[0] += max(0.0, seconds)

    async def asked(_, recording, due):
        return Answer(recording, due, due)

    monkeypatch.setattr("app.commands.load.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("app.commands.load.asyncio.sleep", sleep)
    monkeypatch.setattr(Asker, "_ask", asked)
    recording = Recording(Path("a.wav"), 1.0)

    def arrivals():
        clock[0] = 0.0
        load = asyncio.run(Asker(None, {}).open([recording], 100.0, Bound(seconds=2.0)))
        return [one.due for one in load.answers]

    first = arrivals()
    assert first == arrivals()
    assert first == sorted(first)
    assert 150 < len(first) < 250
    assert max(first) < 2.0


def test_a_bound_gives_recordings_in_turn():
    one, other = Recording(Path("a"), 1.0), Recording(Path("b"), 1.0)
    assert list(Bound(5).turns([one, other])) == [one, other, one, other, one]
    assert Bound().seconds == math.inf


def test_a_client_that_gets_no_answer_waits_before_it_asks_again(files):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    (path,) = files("a.wav")

    async def load():
        async with connect_async(url, "", None) as server:
            return await Asker(server, {}).closed([Recording(Path(path), 1.0)], 1, Bound(1, 0.01))

    (answer,) = asyncio.run(load()).answers
    assert (answer.code, answer.pause) == ("unreachable", 1.0)
