"""Recordings to text through the real server, decoder, engine and 4-bit checkpoint."""

import io
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jiwer
import numpy as np
import pytest
from openai import OpenAI

from app.audio.decode import decode
from app.cli import main
from app.transcription.script import written_in
from tests.engine.conftest import KERNELS, MAYDAY, MAYDAY_WORDS, RECORDINGS
from tests.sound import encode, repeated_opus, silence, tone

TEST = RECORDINGS / "test"
ROWS = [json.loads(line) for line in (TEST / "manifest.jsonl").read_text("utf-8").splitlines()]


def samples_of(path):
    with path.open("rb") as file:
        return decode(file, max_seconds=60).samples


def post(server, content, name="a.wav", **fields):
    return httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": (name, content)},
        data=fields,
        timeout=300,
    )


def metric(server, name):
    """The value of one sample line of /metrics, summed over labels."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def test_a_curled_recording_gives_its_words(server):
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS
    assert server.transcribe(MAYDAY, response_format="text").text == MAYDAY_WORDS + "\n"


def test_the_openai_sdk_gets_the_words(server):
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none")
    with MAYDAY.open("rb") as file:
        answer = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert answer.text == MAYDAY_WORDS
    assert client.models.list().data[0].id == "marine-radio"


def test_chinese_without_a_language_comes_back_in_traditional_chinese(server):
    rows = [row for row in ROWS if row["language"] == "zh"][:8]
    answers = [
        server.transcribe(TEST / row["audio"], response_format="verbose_json").json()
        for row in rows
    ]
    assert {answer["language"] for answer in answers} == {"chinese"}
    assert jiwer.cer([r["text"] for r in rows], [a["text"] for a in answers]) < 0.1


def test_a_language_that_is_asked_for_is_used(server):
    answer = server.transcribe(MAYDAY, language="zh", response_format="verbose_json").json()
    assert answer["language"] == "chinese"


def test_segments_are_where_the_sentences_are(server):
    row = next(row for row in ROWS if len(row["segments"]) == 2 and row["language"] == "en")
    answer = server.transcribe(TEST / row["audio"], response_format="verbose_json").json()
    assert answer["duration"] == pytest.approx(row["duration"], abs=0.05)
    assert len(answer["segments"]) == 2
    for told, (start, end, _) in zip(answer["segments"], row["segments"], strict=True):
        assert (told["start"], told["end"]) == pytest.approx((start, end), abs=0.8)
        assert -1 < told["avg_logprob"] < 0
        assert 0 <= told["no_speech_prob"] < 0.2
        assert told["compression_ratio"] > 0
        assert told["tokens"]


def test_chinese_is_written_in_the_script_that_is_asked_for(server):
    row = next(row for row in ROWS if row["language"] == "zh")
    said = {
        tag: server.transcribe(TEST / row["audio"], language=tag).json()["text"]
        for tag in ("zh", "zh-TW", "zh-CN")
    }
    assert said["zh-TW"] == written_in(said["zh"], "zh-TW")
    assert said["zh-CN"] == written_in(said["zh"], "zh-Hans") != said["zh-TW"]


FORMATS = {
    "flac": ("flac", "flac", 44_100, "stereo"),
    "m4a": ("ipod", "aac", 44_100, "stereo"),
    "ogg": ("ogg", "libopus", 48_000, "mono"),
    "webm": ("webm", "libopus", 48_000, "stereo"),
    "mu-law 8 kHz": ("wav", "pcm_mulaw", 8_000, "mono"),
    "six channels": ("wav", "pcm_s16le", 48_000, "5.1"),
    "192 kHz": ("wav", "pcm_s24le", 192_000, "stereo"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_understood(server, name):
    answer = post(server, encode(samples_of(MAYDAY), *FORMATS[name]))
    assert jiwer.wer(MAYDAY_WORDS, answer.json()["text"]) < 0.15


def test_silence_and_noise_have_no_words(server):
    noise = np.random.default_rng(0).normal(0, 0.01, 12 * 16_000).astype(np.float32)
    for samples in (silence(12), noise):
        answer = post(server, encode(samples), response_format="verbose_json").json()
        assert (answer["text"], answer["segments"]) == ("", [])


def test_requests_at_once_do_not_mix(server):
    rows = ROWS[:16]

    def transcribe(row):
        return server.transcribe(TEST / row["audio"]).json()["text"]

    alone = [transcribe(row) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(transcribe, rows))
    assert jiwer.cer(alone, together) < 0.02


BAD_FILES = {
    "empty": (lambda: b"", 400, "audio_too_short"),
    "text named mp3": (lambda: b"only words " * 99, 415, "not_audio"),
    "no length": (lambda: encode(tone(0.01)), 400, "audio_too_short"),
    "truncated mp3": (lambda: MAYDAY.read_bytes()[:20_000], 400, "truncated_audio"),
    "truncated m4a": (
        lambda: encode(samples_of(MAYDAY), "ipod", "aac", 44_100)[:30_000],
        400,
        "undecodable_audio",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_what_is_wrong_and_the_next_request_works(server, name):
    content, status, code = BAD_FILES[name]
    answer = post(server, content(), "a.mp3")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"response_format": "xml"}, "response_format"), ({"language": "klingon"}, "language")],
)
def test_a_bad_field_is_named_and_the_next_request_works(server, fields, param):
    answer = server.transcribe(MAYDAY, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert server.transcribe(MAYDAY).status_code == 200


def test_a_missing_file_is_named(server):
    answer = httpx.post(f"{server.url}/v1/audio/transcriptions", data={"model": "whisper-1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def peak_rss(server):
    """The most memory the server's process has had so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_ten_hours_of_opus_are_refused_at_the_limit_in_bounded_memory(server):
    content = repeated_opus(hours=10)
    before = peak_rss(server)
    started = time.monotonic()
    answer = post(server, content, "long.ogg")
    elapsed = time.monotonic() - started
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")
    # 600 s of samples are 38 MB; ten hours would be 2.3 GB, and minutes of decoding.
    assert peak_rss(server) - before < 300e6
    assert elapsed < 60
    assert server.transcribe(MAYDAY).json()["text"] == MAYDAY_WORDS


def test_models_say_what_is_served_and_through_which_kernel(server):
    model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    facts = model["marlinscribe"]
    assert model["id"] == "marine-radio"
    assert facts["scheme"] == "W4A16 gptq g128"
    assert max(facts["kernels"].get(kernel, 0) for kernel in KERNELS) > 20
    assert facts["languages"] == ["en", "zh"]
    assert facts["weight_bytes"] < 6e6
    assert len(facts["fingerprint"]) == 16


def test_metrics_carry_ours_and_vllms(server):
    server.transcribe(MAYDAY)
    for name in (
        "upload_duration_seconds", "audio_decode_duration_seconds", "queue_duration_seconds",
        "window_queue_duration_seconds", "time_to_first_token_seconds",
        "inter_token_latency_seconds", "rtfx",
    ):  # fmt: skip
        assert metric(server, f"marlinscribe_{name}_count") > 0, name
    wait_until(lambda: metric(server, "vllm:request_success_total") > 0)
    assert metric(server, "vllm:generation_tokens_total") > 0


def test_a_client_that_leaves_frees_the_engine(server):
    aborts = metric(server, "marlinscribe_client_aborts_total")
    long = np.concatenate([np.concatenate([samples_of(MAYDAY), silence(20)])] * 12)
    body = encode(long)
    content = (
        b"--frontier\r\ncontent-disposition: form-data; name=file; filename=a.wav\r\n\r\n"
        + body
        + b"\r\n--frontier--\r\n"
    )
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n"
        f"content-type: multipart/form-data; boundary=frontier\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + content)
        wait_until(lambda: metric(server, "marlinscribe_windows_in_flight") > 0)
    wait_until(lambda: metric(server, "marlinscribe_client_aborts_total") == aborts + 1)
    wait_until(lambda: metric(server, "marlinscribe_windows_in_flight") == 0)
    wait_until(lambda: metric(server, "vllm:num_requests_running") == 0, seconds=20)


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_line_transcribes_files(server, capsys):
    files = [str(TEST / row["audio"]) for row in ROWS[:3]]
    assert main(["transcribe", "--url", server.url, *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == files
    assert all(line.split("\t")[1] for line in lines)


def test_the_command_line_measures_error_rates(server, tmp_path):
    manifest, out = tmp_path / "some.jsonl", tmp_path / "out.json"
    some = [row | {"audio": str(TEST / row["audio"])} for row in ROWS[::15]]
    manifest.write_text("\n".join(map(json.dumps, some)), "utf-8")
    asked = ["evaluate", "--url", server.url, "--detect", "--json", str(out), str(manifest)]
    assert main(asked) == 0
    languages = json.loads(out.read_text("utf-8"))["languages"]
    assert set(languages) == {"en", "zh"}
    for score in languages.values():
        assert score["language_right"] == score["recordings"]
        assert score["rates"]["cer"]["value"] < 0.15


def test_an_upload_in_memory_is_as_good_as_a_file(server):
    answer = post(server, io.BytesIO(MAYDAY.read_bytes()), "blob")
    assert answer.json()["text"] == MAYDAY_WORDS
