"""What clients in the wild send, byte for byte, and how it gets to a server.

Bazarr's is what `custom_libs/subliminal_patch/providers/whisperai.py` has `requests` send; what
whisper.cpp's users send is the command line of its server's README by curl 7.88; the JSON bodies
are those of OpenRouter's documentation, as the serializers of their languages write them.
"""

import base64
import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse

import numpy as np

from app.audio.waveform import Samples, to_pcm

_REQUESTS = "5d1f0c7b9a3e4f6882c1d0e9b7a6f5c4"  # a boundary as urllib3 makes it
_CURL = "------------------------4ebf00fbcf09bab6"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


def replay(url: str, sent: bytes) -> Answer:
    """Send the bytes of one request to a server; its answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(sent.replace(b"HOST", f"{host}:{port}".encode(), 1))
        answer = HTTPResponse(connection)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())


def raw(samples: Samples) -> bytes:
    """Sound as Bazarr has FFmpeg write it: s16le, 16 kHz, mono."""
    return np.ascontiguousarray(to_pcm(samples)).tobytes()


def bazarr(path: str, recording: bytes) -> bytes:
    """`session.post(f"{endpoint}{path}", files={"audio_file": recording})`."""
    part = b'Content-Disposition: form-data; name="audio_file"; filename="audio_file"\r\n\r\n'
    body = b"--%b\r\n%b%b\r\n--%b--\r\n" % (_REQUESTS.encode(), part, recording, _REQUESTS.encode())
    return _request(
        f"POST {path} HTTP/1.1",
        "Host: HOST",
        "User-Agent: Subliminal/2.1",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        f"Content-Length: {len(body)}",
        f"Content-Type: multipart/form-data; boundary={_REQUESTS}",
        body=body,
    )


def bazarr_asr(recording: bytes, task: str = "transcribe", language: str = "en") -> bytes:
    """A subtitle, as its `download_subtitle` asks for it."""
    query = f"task={task}&language={language}&output=srt&encode=false"
    return bazarr(f"/asr?{query}", recording)


def whisper_cpp(recording: bytes, **fields: str) -> bytes:
    """`curl …/inference -H "Content-Type: multipart/form-data" -F file="@jfk.wav" -F …`"""
    parts = [
        b'Content-Disposition: form-data; name="file"; filename="jfk.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + recording
    ]
    for name, value in fields.items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
    body = b"".join(b"--%b\r\n%b\r\n" % (_CURL.encode(), part) for part in parts)
    body += f"--{_CURL}--\r\n".encode()
    return _request(
        "POST /inference HTTP/1.1",
        "Host: HOST",
        "User-Agent: curl/7.88.1",
        "Accept: */*",
        f"Content-Length: {len(body)}",
        f"Content-Type: multipart/form-data; boundary={_CURL}",
        body=body,
    )


def openrouter_json(recording: bytes, kind: str = "wav") -> bytes:
    """The body that `requests.post(url, json=…)` makes of OpenRouter's example."""
    audio = {"data": base64.b64encode(recording).decode(), "format": kind}
    sent = {"model": "openai/whisper-large-v3", "input_audio": audio, "language": "en"}
    return json.dumps(sent).encode()


def javascript_json(recording: bytes) -> bytes:
    """The same by JSON.stringify, with the format before the data."""
    audio = {"format": "wav", "data": base64.b64encode(recording).decode()}
    return json.dumps({"input_audio": audio, "model": "whisper-1"}, separators=(",", ":")).encode()


def php_json(recording: bytes) -> bytes:
    """The same by json_encode, which escapes slashes."""
    return javascript_json(recording).replace(b"/", b"\\/")


def dotnet_json(recording: bytes) -> bytes:
    """The same by System.Text.Json, which escapes plus signs."""
    return javascript_json(recording).replace(b"+", b"\\u002B")


def json_request(body: bytes, path: str = "/v1/audio/transcriptions", key: str = "none") -> bytes:
    """A body in JSON as `requests` sends it."""
    return _request(
        f"POST {path} HTTP/1.1",
        "Host: HOST",
        "User-Agent: python-requests/2.32.5",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        f"Authorization: Bearer {key}",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        body=body,
    )


def _request(*head: str, body: bytes) -> bytes:
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
