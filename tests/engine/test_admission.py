"""Fair slots, patience and log lines through the real engine."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from tests.engine.conftest import MAYDAY, MAYDAY_WORDS
from tests.engine.test_transcription import metric, post, samples_of
from tests.sound import encode, silence

ARCHIVES = 6


def archive(minutes):
    """So much of somebody's speech: 2 windows a minute."""
    once = np.concatenate([samples_of(MAYDAY), silence(20)])
    return encode(np.concatenate([once] * (2 * minutes)))


def test_a_clip_does_not_wait_for_the_archives_before_it(server):
    """With so many archives that a machine slow at sending the clip still has most of them before
    it."""
    told = {}

    def ask(name, content):
        told[name] = post(server, content)

    names, content = [f"archive {n}" for n in range(ARCHIVES)], archive(9)
    archives = [threading.Thread(target=ask, args=(name, content)) for name in names]
    for long in archives:
        long.start()
    deadline = time.monotonic() + 60
    while metric(server, "marlinscribe_windows_queued") < 12:
        assert time.monotonic() < deadline, "the archives never waited"
        time.sleep(0.01)
    ask("clip", MAYDAY.read_bytes())
    waited = metric(server, "marlinscribe_windows_queued")
    for long in archives:
        long.join()
    assert told["clip"].json()["text"] == MAYDAY_WORDS
    for name in names:
        assert told[name].json()["text"].count(MAYDAY_WORDS.split()[-1]) >= 15
    assert waited, "the clip was answered behind all windows of the archives"
    assert metric(server, "marlinscribe_windows_queued") == 0
    assert metric(server, "marlinscribe_audio_queued_seconds") == 0


def in_a_hurry(server, content):
    """Ask as a client that waits a twentieth of a second, and twice at once, which is more than an
    engine takes. The last answer."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(in_a_hurry_once, [server] * 2, [content] * 2))[-1]


def in_a_hurry_once(server, content):
    return httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": content},
        headers={"x-stainless-read-timeout": "0.05", "x-stainless-retry-count": "0"},
        timeout=60,
    )


def test_a_client_that_would_leave_first_is_told_at_once(server):
    """Once the pace of a full engine is known, which every archive until then shows."""
    content, deadline = archive(9), time.monotonic() + 60
    while (answer := in_a_hurry(server, content)).status_code == 200:
        assert time.monotonic() < deadline, "the pace was never known"
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "client_would_time_out")
    assert answer.headers["x-should-retry"] == "false"


def lines_with(text, server):
    """The log's, which are written behind an answer's last byte."""
    deadline = time.monotonic() + 10
    while text not in server.read_log() and time.monotonic() < deadline:
        time.sleep(0.05)
    return [line for line in server.read_log().splitlines() if text in line]


def test_a_request_is_one_line_of_the_log_without_its_text(server):
    request_id = f"req-{time.time_ns()}"
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": MAYDAY.read_bytes()},
        headers={"x-request-id": request_id},
        timeout=60,
    )
    said = lines_with(request_id, server)
    assert len(said) == 1
    assert "POST /v1/audio/transcriptions 200" in said[0]
    assert "rtfx=" in said[0]
    assert answer.json()["text"] not in server.read_log()
