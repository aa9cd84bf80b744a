"""A transcriber behind HTTP, as bench/throughput.py asks its peers. It is imported in environments
of their own, without ours: PyAV and numpy at most.

`POST /v1/audio/transcriptions` is answered with {"text"}; a request that says `batched` is of a
recording of minutes.
"""

import json
from collections.abc import Callable
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

_RATE = 16_000
Transcribe = Callable[[bytes, str, bool], str]  # of a recording, its language, whether in batches


def serve(port: int, transcribe: Transcribe) -> None:
    """Answer on a port of this machine, until the process is ended."""

    class Answering(Handler):
        def text_of(self, recording: bytes, language: str, batched: bool) -> str:
            return transcribe(recording, language, batched)

    Server(("127.0.0.1", port), Answering).serve_forever()


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # clients that come at once wait to be answered


class Handler(BaseHTTPRequestHandler):
    """Answers one client's requests."""

    protocol_version = "HTTP/1.1"

    def text_of(self, recording: bytes, language: str, batched: bool) -> str:
        """Return what is heard in a recording."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Say that the server is there."""
        self._answer({})

    def do_POST(self) -> None:
        """Transcribe."""
        fields = self._fields()
        text = self.text_of(fields["file"], fields["language"].decode(), "batched" in fields)
        self._answer({"text": text})

    def _fields(self) -> dict[str, bytes]:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        body = self.rfile.read(int(self.headers["content-length"]))
        parts: Any = BytesParser().parsebytes(head + body).get_payload()
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in parts
        }

    def _answer(self, body: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def samples_of(recording: bytes) -> Any:
    """Decode a recording to 16 kHz, one channel, float32 of full scale 1."""
    import av
    import numpy as np

    with av.open(BytesIO(recording)) as container:
        resampler = av.AudioResampler("s16", "mono", _RATE)
        frames = [*container.decode(audio=0), None]
        pieces = [one.to_ndarray()[0] for frame in frames for one in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32) / 32768
