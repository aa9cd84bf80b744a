"""Streamed answers, over a real socket."""

import json
import time
from typing import Any

import httpx
import openai
import pytest

from app.errors import EngineDied
from tests.sound import encode, tone

WAV = encode(tone(1))


@pytest.fixture
def settings():
    return {"stream_heartbeat_seconds": 0.2}


def lines(url, **fields):
    """Each line of the body and when it came."""
    with httpx.stream(
        "POST",
        f"{url}/v1/audio/transcriptions",
        files={"file": ("a.wav", WAV)},
        data={"stream": "true", **fields},
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        return [(time.monotonic(), line) for line in answer.iter_lines() if line]


def frames(url, **fields):
    data = [line[6:] for _, line in lines(url, **fields) if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


def test_a_delta_and_a_segment_for_each_segment_then_done(url, transcriber):
    transcriber.texts = [" Mayday.", " Over."]
    events = frames(url)
    assert [event["type"].split(".")[-1] for event in events] == [
        "delta", "segment", "delta", "segment", "done",
    ]  # fmt: skip
    assert [events[0]["delta"], events[2]["delta"]] == ["Mayday.", " Over."]
    assert (events[3]["start"], events[3]["end"], events[3]["text"]) == (1.0, 1.9, " Over.")
    assert events[-1]["text"] == "Mayday. Over." == events[0]["delta"] + events[2]["delta"]
    assert events[-1]["usage"] == {"type": "duration", "seconds": 1.0}


def test_traditional_chinese_is_sent_as_it_is_without_spaces(url, transcriber):
    transcriber.texts = ["求救，", "這裡是藍鷺號。"]
    assert frames(url)[-1]["text"] == "求救，這裡是藍鷺號。"
    assert any("這裡是藍鷺號" in line for _, line in lines(url))


def test_a_delta_leaves_before_the_next_segment_is_there(url, transcriber):
    transcriber.texts, transcriber.delay = [" one.", " two."], 0.5
    times = [at for at, line in lines(url) if "delta" in line]
    assert times[1] - times[0] > 0.3


def test_a_silent_line_carries_comments(url, transcriber):
    transcriber.delay = 0.7
    told = [line for _, line in lines(url)]
    assert told.count(": waiting") >= 2
    assert told[-1] == "data: [DONE]"


def test_verbose_json_streams_its_whole_body_at_the_end(url):
    done = frames(url, response_format="verbose_json")[-1]
    assert (done["type"], done["language"], done["duration"]) == (
        "transcript.text.done", "english", 1.0,
    )  # fmt: skip
    assert done["segments"][0]["no_speech_prob"] == 0.01


def test_logprobs_come_with_deltas_and_with_the_end(url):
    events = frames(url, **{"include[]": "logprobs"})
    assert events[0]["logprobs"] == events[-1]["logprobs"]
    assert events[0]["logprobs"][0]["token"] == " Mayday."


def test_nothing_said_is_an_empty_text(url, transcriber):
    transcriber.texts = []
    (done,) = frames(url)
    assert done["text"] == ""


def test_an_error_on_the_way_is_the_last_frame(url, transcriber):
    transcriber.texts = [" one.", " two."]
    transcriber.error, transcriber.fails_at = EngineDied("The engine stopped."), 1
    told = [line for _, line in lines(url)]
    assert "delta" in told[0]
    error = json.loads(told[-1].removeprefix("data: "))["error"]
    assert (error["code"], error["message"]) == ("engine_died", "The engine stopped.")


def test_a_defect_on_the_way_is_a_frame_without_a_traceback(url, transcriber):
    transcriber.error = RuntimeError("secret path /etc")
    told = [line for _, line in lines(url)]
    assert json.loads(told[-1].removeprefix("data: "))["error"]["code"] == "internal_error"
    assert "secret" not in told[-1]


def test_the_sdk_reads_the_stream_and_raises_its_error(url, transcriber):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    ask: dict[str, Any] = {"model": "whisper-1", "file": ("a.wav", WAV), "stream": True}
    events = list(client.audio.transcriptions.create(**ask))
    assert events[-1].text == "Mayday."
    transcriber.error = EngineDied("The engine stopped.")
    with pytest.raises(openai.APIError, match="The engine stopped"):
        list(client.audio.transcriptions.create(**ask))


def test_bad_audio_is_refused_before_the_stream_begins(url):
    answer = httpx.post(
        f"{url}/v1/audio/transcriptions", files={"file": b"x" * 99}, data={"stream": "true"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_audio")


def test_a_client_that_leaves_ends_the_work_and_frees_its_place(url, transcriber, context):
    transcriber.texts, transcriber.delay = [" word."] * 1000, 0.05
    with httpx.stream(
        "POST",
        f"{url}/v1/audio/transcriptions",
        files={"file": ("a.wav", WAV)},
        data={"stream": "true"},
    ) as answer:
        lines = answer.iter_lines()  # held: its end would close the connection
        next(lines)
        assert context.state.default.admission.under_way == 1
    deadline = time.monotonic() + 5
    while transcriber.closed == 0 or context.state.default.admission.under_way:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "marlinscribe_client_aborts_total 1.0" in httpx.get(f"{url}/metrics").text
