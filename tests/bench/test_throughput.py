"""The benchmark beside others: who is asked, what their answers come to, and peers' servers."""

import argparse
import asyncio
import json
import struct
import threading
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from queue import Queue

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import ggml, peer_server, peers
from bench.arrivals import arrivals, moments
from bench.peer_transformers_server import CLIPS, taken, transcribed
from bench.throughput import DEFAULT, MIDDLE_SECONDS, Load, Round, loads, middle, rows
from tests.http_server import serving
from tests.sound import encode, tone


def test_middle_clips_are_nearly_a_window_and_have_their_words(tmp_path):
    clips = list(middle(tmp_path))
    assert len(clips) > 10
    assert all(MIDDLE_SECONDS - 4 < clip.seconds <= MIDDLE_SECONDS for clip in clips)
    assert all(clip.path.exists() and len(clip.text.split()) > 20 for clip in clips)


def test_loads_are_of_clients_or_of_arrivals():
    assert [str(one) for one in loads("short", None)] == ["1 at once", "4 at once", "16 at once"]
    assert [str(one) for one in loads("middle", [0.5, 2])] == ["0.5 a second", "2 a second"]
    assert [one.requests for one in loads("long", [1])] == [3]


def test_a_row_compares_throughput_of_clients_and_latency_of_arrivals():
    mine, its = Round(20.0, [1.0, 2.0, 9.0], 0.1), Round(10.0, [3.0, 6.0, 7.0], 0.2)
    assert Load(3, at_once=1).beside(mine, its) == 2
    assert Load(3, rate=1.0).beside(mine, its) == 3
    told = {DEFAULT: [mine, mine], "other": [its, its]}
    first, second = rows(told, "short", Load(3, rate=1.0), {DEFAULT: 0.01, "other": 0.02})
    assert first == ["short, 1 a second", DEFAULT, "20.0", "", "2000", "9000", "9000",
                     "0.100", "1.0 %"]  # fmt: skip
    assert second[:5] == ["", "other", "10.0", "3.00 (3.00 to 3.00)", "6000"]


def names_of(monkeypatch, *options):
    """The programs that these options ask for."""
    wanted = argparse.ArgumentParser()
    peers.add_peers(wanted)
    monkeypatch.setattr(peers, "program", lambda name, *command: (name, *command))
    return list(peers.others(wanted.parse_args(options), processors=2))


def test_peers_are_asked_with_one_worker_on_all_processors_and_one_on_each(monkeypatch):
    assert names_of(monkeypatch) == []
    asked = ["--whisper-cpp", "py", "--ggml", "a/f16.bin", "a/q8_0.bin", "--float32"]
    asked += ["--faster-whisper", "fw", "--peer-model", "ct2"]
    asked += ["--transformers", "tf", "--weights", "hf"]
    told = names_of(monkeypatch, *asked)
    assert [one[0] for one in told] == [
        "faster-whisper int8, 1 x 2", "faster-whisper int8, 2 x 1",
        "faster-whisper float32, 1 x 2", "faster-whisper float32, 2 x 1",
        "whisper.cpp f16, 1 x 2", "whisper.cpp f16, 2 x 1",
        "whisper.cpp q8_0, 1 x 2", "whisper.cpp q8_0, 2 x 1",
        "transformers bfloat16", "transformers float32",
    ]  # fmt: skip
    assert told[4][1:] == ("py", "peer_whisper_cpp_server", "a/f16.bin", "1", "2")
    assert told[-1][1:] == ("tf", "peer_transformers_server", "hf", "float32", "2")


def test_arrivals_are_the_seeds_and_as_many_a_second_as_asked_for():
    first = list(moments(4.0, 1000, 1))
    assert first == list(moments(4.0, 1000, 1)) != list(moments(4.0, 1000, 2))
    assert first[0] == 0
    assert first == sorted(first)
    assert 200 < first[-1] < 300


class Waiting(BaseHTTPRequestHandler):
    """Answers once so many ask at once."""

    together = threading.Barrier(4)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.together.wait(60)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def test_what_arrives_does_not_wait_for_those_before(tmp_path):
    clip = tmp_path / "a.wav"
    clip.write_bytes(b"sound")
    with serving(Waiting) as url:
        listening = argparse.Namespace(port=int(url.rsplit(":", 1)[1]))
        pace, times = asyncio.run(arrivals(listening, [clip], 200.0, 4, {"language": "en"}, 0))
    assert pace > 0
    assert len(times) == 4


@pytest.fixture
def peer():
    """A peer's server that hears what it is asked."""

    class Answering(peer_server.Handler):
        def text_of(self, recording, language, batched):
            return repr((len(recording), language, batched))

    with serving(Answering) as url:
        yield url


@pytest.mark.parametrize("batched", [True, False])
def test_a_peers_server_hands_on_recording_language_and_whether_in_batches(peer, batched):
    assert httpx.get(peer).status_code == 200
    fields = {"language": "en"} | ({"batched": "1"} if batched else {})
    answer = httpx.post(peer, data=fields, files={"file": ("a.ogg", b"\r\n--\x00sound")})
    assert answer.json() == {"text": repr((10, "en", batched))}


def test_peers_hear_samples_at_16_khz():
    samples = peer_server.samples_of(encode(tone(2), rate=48_000))
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(32_000, abs=200)
    assert 0.1 < np.abs(samples).max() <= 1


def job(language="en", batched=False):
    return np.zeros(4), language, batched, Future()


def test_transformers_takes_what_waits_together_and_long_ones_alone():
    jobs = Queue()
    several = [job() for _ in range(CLIPS + 2)]
    for one in (*several, job(batched=True), job(batched=True), job("zh"), job()):
        jobs.put(one)
    assert [len(taken(jobs)) for _ in range(2)] == [CLIPS, 2]
    left = [[(one[1], one[2]) for one in taken(jobs)] for _ in range(4)]
    assert sorted(map(len, left)) == [1, 1, 1, 1]
    assert left.count([("en", True)]) == 2


class Pipe:
    """A pipeline that keeps what it is asked."""

    def __init__(self, *, is_multilingual):
        config = argparse.Namespace(is_multilingual=is_multilingual)
        self.model = argparse.Namespace(generation_config=config)
        self.asked = []

    def __call__(self, inputs, **options):
        self.asked.append(options)
        return [{"text": f" {number}"} for number, _ in enumerate(inputs)]


def test_transformers_pieces_a_long_recording_and_batches_clips():
    pipe = Pipe(is_multilingual=True)
    assert transcribed(pipe, [job(), job()]) == [" 0", " 1"]
    assert transcribed(pipe, [job(batched=True)]) == [" 0"]
    clips, long = pipe.asked
    assert (clips["batch_size"], "chunk_length_s" in clips) == (2, False)
    assert (long["batch_size"], long["chunk_length_s"]) == (8, 30)
    assert [one["return_timestamps"] for one in pipe.asked] == [True, False]


@pytest.mark.parametrize("is_multilingual", [True, False])
def test_transformers_is_told_the_language_where_the_model_knows_several(is_multilingual):
    pipe = Pipe(is_multilingual=is_multilingual)
    transcribed(pipe, [job("zh")])
    generation = pipe.asked[0]["generate_kwargs"]
    assert generation.get("language") == ("zh" if is_multilingual else None)
    assert generation["num_beams"] == 1


def test_weights_for_whisper_cpp_have_their_header_vocabulary_and_tensors(tmp_path):
    config = {
        "vocab_size": 4, "max_source_positions": 1500, "d_model": 32,
        "encoder_attention_heads": 2, "encoder_layers": 1, "max_target_positions": 448,
        "decoder_attention_heads": 2, "decoder_layers": 1, "num_mel_bins": 80,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    vocab = {"a": 1, "Ġé": 0, "Ċ": 2}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    weights = {
        "model.encoder.conv1.bias": np.ones(3, np.float16),
        "model.decoder.layers.0.fc1.weight": np.eye(2, 32, dtype=np.float16),
        "proj_out.weight": np.ones((2, 2), np.float16),
    }
    save_file(weights, tmp_path / "model.safetensors")
    out = BytesIO()
    ggml.convert(tmp_path, out, "f16")
    content = out.getvalue()
    assert struct.unpack_from("<12i", content) == (
        0x67676D6C, 4, 1500, 32, 2, 1, 448, 32, 2, 1, 80, 1,
    )  # fmt: skip
    assert struct.unpack_from("<2i", content, 48) == (80, 201)
    words = struct.pack("<ii", 3, 2) + b" \xe9" + struct.pack("<i", 1) + b"a"
    assert content[56 + 80 * 201 * 4 :].startswith(words + struct.pack("<i", 1) + b"\n")
    bias = struct.pack("<5i", 2, 18, 0, 1, 3) + b"encoder.conv1.bias"
    assert bias + np.ones(3, np.float32).tobytes() in content
    fc1 = struct.pack("<5i", 2, 29, 1, 32, 2) + b"decoder.blocks.0.mlp.0.weight"
    assert fc1 + np.eye(2, 32, dtype=np.float16).tobytes() in content
    assert b"proj" not in content


def test_eight_bits_are_near_and_take_half_the_room():
    matrix = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    matrix[0, :32] = 0
    content = ggml.in_8_bits(matrix)
    assert len(content) == 4 * 2 * (2 + 32)
    blocks = np.frombuffer(content, [("scale", "<f2"), ("numbers", "i1", 32)])
    back = (blocks["scale"].astype(np.float32)[:, None] * blocks["numbers"]).reshape(4, 64)
    assert np.abs(back - matrix).max() < np.abs(matrix).max() / 100


def test_every_byte_has_a_letter():
    found = ggml.bytes_of_letters()
    assert sorted(found.values()) == list(range(256))
    assert (found["Ġ"], found["a"], found["Ċ"]) == (32, 97, 10)
