"""OpenAI's contract through the real engine: formats, streams, prompts, logprobs."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import jiwer
import numpy as np
import openai
import pytest

from app.audio.decode import decode
from bench.prompts import other, talk
from tests.engine.conftest import MAYDAY, MAYDAY_WORDS, RECORDINGS
from tests.sound import encode, silence

ROWS = [
    json.loads(line)
    for line in (RECORDINGS / "test" / "manifest.jsonl").read_text("utf-8").splitlines()
]


def samples_of(path):
    with path.open("rb") as file:
        return decode(file, max_seconds=60).samples


@pytest.fixture(scope="module")
def long():
    """Twenty recordings, each in a window of its own: more than decode at once."""
    rows = [row for row in ROWS if row["language"] == "en"][:20]
    samples = [samples_of(RECORDINGS / "test" / row["audio"]) for row in rows]
    whole = np.concatenate([part for one in samples for part in (one, silence(29)[len(one) :])])
    return encode(whole, "flac", "flac")


def post(server, content, task="transcriptions", **fields):
    return httpx.post(
        f"{server.url}/v1/audio/{task}", files={"file": content}, data=fields, timeout=300
    )


def stream(server, content, **fields):
    """Events of a streamed answer, each with when it came."""
    told = []
    with httpx.stream(
        "POST",
        f"{server.url}/v1/audio/transcriptions",
        files={"file": content},
        data={"stream": "true", **fields},
        timeout=300,
    ) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told.append((time.monotonic(), line[6:]))
    assert told.pop()[1] == "[DONE]"
    return [(at, json.loads(data)) for at, data in told]


def test_subtitles_carry_the_words_in_time(server):
    for wanted, point in (("srt", ","), ("vtt", r"\.")):
        text = server.transcribe(MAYDAY, response_format=wanted).text
        cues = re.findall(rf"(\d\d:\d\d:\d\d{point}\d{{3}}) --> (\S+)\n((?:.+\n)+)\n", text)
        assert " ".join(words for *_, lines in cues for words in lines.split()) == MAYDAY_WORDS
        assert all(len(line) <= 42 for *_, lines in cues for line in lines.splitlines())
        times = [time for start, end, _ in cues for time in (start, end)]
        assert times == sorted(times)


def test_subtitles_are_laid_out(server):
    text = server.transcribe(
        MAYDAY, response_format="srt", max_line_width="20", max_line_count="1"
    ).text
    lines = [line for line in text.splitlines() if re.search("[a-z]", line)]
    assert " ".join(lines) == MAYDAY_WORDS
    assert max(map(len, lines)) <= 20
    assert text.count(" --> ") == len(lines)


def test_a_stream_tells_segments_and_then_the_same_whole(server):
    events = [event for _, event in stream(server, MAYDAY.read_bytes())]
    deltas = [event["delta"] for event in events if event["type"].endswith("delta")]
    assert len(deltas) == 2
    assert "".join(deltas) == events[-1]["text"] == MAYDAY_WORDS


def test_a_streamed_long_recording_is_the_unstreamed_one_told_early(server, long):
    """Its windows decode together, its events come in order and before the last one is done."""
    whole = post(server, long, response_format="verbose_json").json()
    started = time.monotonic()
    events = stream(server, long, response_format="verbose_json")
    done = events[-1][1]
    assert jiwer.cer(whole["text"], done["text"]) < 0.05
    assert [s["id"] for s in done["segments"]] == list(range(len(done["segments"])))
    starts = [event["start"] for _, event in events if event["type"].endswith("segment")]
    assert starts == sorted(starts)
    assert len(starts) == len(done["segments"])
    assert "".join(e.get("delta", "") for _, e in events) == done["text"]
    first, last = events[0][0] - started, events[-1][0] - started
    assert first < 0.9 * last


def test_a_streamed_client_that_leaves_frees_the_engine(server, long):
    def running():
        text = httpx.get(f"{server.url}/metrics").text
        return sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{"))
        )

    with httpx.stream(
        "POST",
        f"{server.url}/v1/audio/transcriptions",
        files={"file": long},
        data={"stream": "true"},
        timeout=300,
    ) as answer:
        lines = answer.iter_lines()  # held: its end would close the connection too soon
        next(lines)
    deadline = time.monotonic() + 20
    while running():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS


def test_logprobs_spell_the_text_and_are_the_models(server):
    body = server.transcribe(MAYDAY, **{"include[]": "logprobs"}).json()
    spelt = b"".join(bytes(one["bytes"]) for one in body["logprobs"]).decode()
    assert spelt.strip() == body["text"]
    assert all(-20 < one["logprob"] <= 0 for one in body["logprobs"])
    verbose = server.transcribe(MAYDAY, response_format="verbose_json").json()
    mean = np.mean([one["logprob"] for one in body["logprobs"]])
    # The windows' mean counts timestamps and the end of text too.
    assert mean == pytest.approx(verbose["segments"][0]["avg_logprob"], abs=0.5)


def test_chinese_logprobs_are_exact_in_bytes(server):
    row = next(row for row in ROWS if row["language"] == "zh")
    body = server.transcribe(RECORDINGS / "test" / row["audio"], **{"include[]": "logprobs"}).json()
    assert b"".join(bytes(one["bytes"]) for one in body["logprobs"]).decode() == body["text"]


def test_languages_are_chosen_among_those_that_are_named(server):
    for named, told in ((["en", "zh"], "english"), (["zh"], "chinese")):
        answer = server.transcribe(MAYDAY, response_format="verbose_json", **{"languages[]": named})
        assert answer.json()["language"] == told


def test_a_translation_is_whole_and_says_so(server):
    """Its shape: the demo was not trained to translate."""
    body = post(server, MAYDAY.read_bytes(), "translations", response_format="verbose_json").json()
    assert (body["task"], body["language"]) == ("translate", "english")
    assert body["segments"]


def test_temperature_samples_and_a_repetition_samples_the_same(server):
    clips = [RECORDINGS / "test" / row["audio"] for row in ROWS[:6]]
    likeliest, sampled, again = (
        [server.transcribe(clip, temperature=how).json()["text"] for clip in clips]
        for how in ("0", "1", "1")
    )
    assert likeliest != sampled == again
    body = server.transcribe(MAYDAY, temperature="1", response_format="verbose_json").json()
    assert {segment["temperature"] for segment in body["segments"]} == {1.0}


def test_prompts_change_spellings_and_lose_nothing(server):
    """How many they change, and how many spelt call signs they shorten, differs with every
    checkpoint; `make bench-prompts` counts."""
    rows = [row for row in ROWS if other(row)][:24]

    def ask(row, **fields):
        return server.transcribe(RECORDINGS / "test" / row["audio"], **fields).json()["text"]

    def ask_prompted(row):
        return ask(row, prompt=talk(row, 3), **{"keywords[]": list(other(row).values())})

    with ThreadPoolExecutor(8) as pool:
        plain, prompted = pool.map(ask, rows), list(pool.map(ask_prompted, rows))
    respelt = cut = 0
    for row, before, after in zip(rows, plain, prompted, strict=True):
        respelt += any(new in after and new not in before for new in other(row).values())
        cut += len(after) < 0.8 * len(before)
    assert respelt > len(rows) / 3
    assert cut <= len(rows) / 6


def test_a_prompt_longer_than_the_decoder_reads_leaves_room_for_what_is_said(server):
    """Of whole pages the end counts. What the demo loses behind any prompt, it may lose here."""
    rows = ROWS[:24]

    def ask(row):
        answer = server.transcribe(RECORDINGS / "test" / row["audio"], prompt=talk(row, 120))
        return answer.raise_for_status().json()["text"]

    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(ask, rows))
    said = [row["text"] for row in rows]
    assert sum(len(h) < 0.8 * len(s) for h, s in zip(heard, said, strict=True)) <= 4
    assert jiwer.cer(said, heard) < 0.4


def test_a_special_token_in_a_prompt_is_only_left_out(server):
    assert server.transcribe(MAYDAY, prompt="<|endoftext|>").json()["text"] == MAYDAY_WORDS


def test_the_sdk_raises_its_typed_error_with_code_and_param(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    with MAYDAY.open("rb") as file, pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=file, language="klingon")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "language")
