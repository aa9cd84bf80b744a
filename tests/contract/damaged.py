"""Requests that are damaged, for tests/contract/fuzz.py."""

import base64
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE
from harness.server import DEMO
from tests.audio.test_decode import PLAYLIST, SESSION
from tests.sound import encode

BOUNDARY = "frontier"
KINDS = [f"multipart/form-data; boundary={BOUNDARY}"] * 95 + [
    f"multipart/form-data; boundary={BOUNDARY}; charset=undefined",
    f"multipart/form-data; boundary={BOUNDARY}; charset=utf-16",
    f"multipart/form-data; boundary={BOUNDARY}; charset=utf-7",
    f"multipart/form-data; boundary={BOUNDARY}; charset=unicode_escape",
    "multipart/form-data; boundary=another", "multipart/form-data", "application/json",
]  # fmt: skip
CONTAINERS = {
    "wav": ("wav", "pcm_s16le"), "wav mu-law": ("wav", "pcm_mulaw", 8000),
    "wav float": ("wav", "pcm_f32le", 44_100, "stereo"), "aiff": ("aiff", "pcm_s16be"),
    "mp3": ("mp3", "libmp3lame"), "flac": ("flac", "flac"), "m4a": ("ipod", "aac"),
    "adts": ("adts", "aac"), "ogg opus": ("ogg", "libopus", 48_000),
    "ogg flac": ("ogg", "flac"), "webm": ("webm", "libopus", 48_000), "mkv": ("matroska", "flac"),
    "mov": ("mov", "alac"), "amr": ("amr", "libopencore_amrnb", 8000), "au": ("au", "pcm_s16be"),
}  # fmt: skip
VALUES = {
    "model": ["whisper-1", "marine-radio", "gpt-9", "../../etc/passwd", "鷺"],
    "language": ["en", "zh", "zh-TW", "English", "fr", "klingon", "<|en|>", "e" * 5000],
    "languages[]": ["en", "zh", "xx"],
    "prompt": [
        "Mayday", "<|endoftext|><|zh|>", "求救" * 400, "\x00\x01", "𠮷🚢", "a" * 30_000, "+2AA-",
        "\\ud800",
    ],
    "keywords[]": ["Blue Heron", "<|0.00|>", ""],
    "response_format": ["json", "text", "srt", "vtt", "verbose_json", "xml", "diarized_json"],
    "temperature": ["0", "0.7", "1", "-1", "nan", "1e400", "warm"],
    "stream": ["true", "false", "maybe"],
    "background": ["true", "false", "behind"],
    "channels": ["split", "mix", "9"],
    "include[]": ["logprobs", "item"],
    "timestamp_granularities[]": ["segment", "word"],
    "chunking_strategy": [
        "auto", '{"type":"server_vad","threshold":0.3}', '{"type":"', "none", '{"a":' * 50_000,
    ],
    "chunking_strategy[type]": ["server_vad"],
    "max_line_width": ["12", "0", "-3", "99999999999999999999"],
    "max_line_count": ["2", "x"],
    "seed": ["7"], "[": ["x"], "file": ["text instead of a file"],
}  # fmt: skip
ROUTES = ["/v1/audio/transcriptions"] * 14 + [
    "/v1/audio/translations", "/v1/audio/translations", "/audio/transcriptions", "/inference",
    "/asr?output=json", "/asr?output=srt&encode=false&language=en",
    "/asr?task=translate&output=tsv",
    "/asr?output=json&word_timestamps=true&encode=maybe", "/detect-language",
    "/detect-language?encode=false", "/openai/deployments/whisper/audio/transcriptions",
]  # fmt: skip
ANYTHING = [
    None,
    True,
    -1,
    0.5,
    10**400,
    "en",
    "",
    [],
    ["en", 7],
    {},
    {"type": "server_vad"},
    [[[]]],
]


def seeds() -> list[bytes]:
    """Two clips of speech, at most 2 s each, in every container."""
    clips = []
    for path in sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:40:20]:
        with path.open("rb") as file:
            samples = decode(file, max_seconds=60).samples
        loud = int(np.argmax(np.abs(samples) > 0.05))
        clips.append(samples[loud : loud + 2 * SAMPLE_RATE])
    lists = [SESSION.encode(), PLAYLIST.encode()]  # what would have a decoder open other things
    return lists + [encode(clip, *container) for clip in clips for container in CONTAINERS.values()]


def damaged(choose: random.Random, content: bytes, others: list[bytes]) -> bytes:
    data = bytearray(content)
    for _ in range(choose.choice([0, 0, 1, 1, 2, 3, 5, 20])):
        # Headers decide what a decoder believes: half the damage goes there.
        end = min(len(data), 128) if choose.random() < 0.5 else len(data)
        if end < 8:
            break
        at = choose.randrange(end)
        match choose.randrange(9):
            case 0:
                data[at] ^= 1 << choose.randrange(8)
            case 1:
                data[at : at + 4] = choose.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case 2:
                data[at : at + 8] = choose.randbytes(8)
            case 3:
                del data[at:]
            case 4:
                del data[at : at + choose.randrange(1, 400)]
            case 5:
                data[at:at] = choose.randbytes(choose.randrange(1, 400))
            case 6:
                data[at:at] = data[at : at + choose.randrange(1, 2000)]
            case 7:
                other = choose.choice(others)
                data[at:] = other[choose.randrange(len(other)) :]
            case 8:
                data[at : at + 64] = bytes(len(data[at : at + 64]))
    return bytes(data)


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    content: bytes = b""
    kind: str = ""


def request_of(choose: random.Random, content: bytes) -> Asked:
    """Return a request for a transcript."""
    path = choose.choice(ROUTES)
    if "/transcriptions" in path and choose.random() < 0.15:
        return Asked("POST", path, json_body(choose, content), "application/json")
    field = "audio_file" if path.startswith(("/asr", "/detect")) else "file"
    whole = body(choose, content if choose.random() < 0.98 else None, field)
    return Asked("POST", path, whole, choose.choice(KINDS))


def json_body(choose: random.Random, content: bytes) -> bytes:
    fields: dict[str, Any] = {}
    for _ in range(choose.choice([0, 1, 1, 2, 3, 6])):
        name = choose.choice(list(VALUES))
        values = ANYTHING if choose.random() < 0.3 else VALUES[name]
        fields[name.removesuffix("[]")] = choose.choice(values)
    data = base64.b64encode(content).decode()
    sound = choose.choice([{"data": data}] * 6 + [{"data": data[:-1]}, {"data": 7}, {}, data, None])
    if isinstance(sound, dict):
        sound = sound | choose.choice([{}, {"format": "wav"}, {"format": "鷺"}, {"format": 3}])
    items = [*fields.items(), ("input_audio", sound)]
    choose.shuffle(items)
    whole = json.dumps(dict(items)).encode()
    return damaged(choose, whole, [whole]) if choose.random() < 0.2 else whole


def body(
    choose: random.Random,
    content: bytes | None,
    field: str,
    values: Mapping[str, Sequence[str]] = VALUES,
    always: Collection[str] = (),
) -> bytes:
    """Return a form with some of the fields, those of `always` among them; no recording where
    `content` is None."""
    parts = []
    some = [choose.choice(list(values)) for _ in range(choose.choice([0, 1, 1, 2, 3, 6]))]
    for name in [*some, *always]:
        value = choose.choice(values[name]).encode()
        parts.append(f'content-disposition: form-data; name="{name}"\r\n\r\n'.encode() + value)
    if content is not None:
        filename = choose.choice(["a.wav", "a.mp3", "鷺.ogg", "", "../../x", "a" * 300, "+2AA-"])
        kind = choose.choice(["audio/wav", "application/octet-stream", "text/html", "x"])
        head = f'content-disposition: form-data; name="{field}"; filename="{filename}"\r\n'
        parts.append(f"{head}content-type: {kind}\r\n\r\n".encode() + content)
        choose.shuffle(parts)
    whole = b"".join(b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    whole += b"--" + BOUNDARY.encode() + b"--\r\n"
    return damaged(choose, whole, [whole]) if choose.random() < 0.05 else whole
