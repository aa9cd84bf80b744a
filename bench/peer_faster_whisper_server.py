"""faster-whisper behind HTTP, for bench/throughput.py. It runs in an environment of its own,
without ours:

PYTHON -m bench.peer_faster_whisper_server MODEL PORT TYPE WORKERS THREADS

answers `POST /v1/audio/transcriptions` with {"text"}. TYPE is what it computes in. With a detector
and in batches where the request says `batched`; else window after window, without one.
"""

import argparse
import json
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

BATCH = 8  # windows at once, which is the package's default


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_faster_whisper_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model")
    wanted.add_argument("port", type=int)
    wanted.add_argument("compute_type")
    wanted.add_argument("workers", type=int)
    wanted.add_argument("threads", type=int)
    asked = wanted.parse_args()

    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        asked.model,
        device="cpu",
        compute_type=asked.compute_type,
        num_workers=asked.workers,
        cpu_threads=asked.threads,
    )

    class Handler(_Handler):
        whisper, batched = model, BatchedInferencePipeline(model)

    ThreadingHTTPServer(("127.0.0.1", asked.port), Handler).serve_forever()


class _Handler(BaseHTTPRequestHandler):
    """Answers one client's requests."""

    protocol_version = "HTTP/1.1"
    whisper: Any
    batched: Any

    def do_GET(self) -> None:
        """Say that the server is there."""
        self._answer({})

    def do_POST(self) -> None:
        """Transcribe."""
        fields = self._fields()
        options: dict[str, Any] = {"language": fields["language"].decode(), "beam_size": 1}
        if "batched" in fields:
            heard, _ = self.batched.transcribe(
                BytesIO(fields["file"]), batch_size=BATCH, vad_filter=True, **options
            )
        else:
            heard, _ = self.whisper.transcribe(BytesIO(fields["file"]), **options)
        self._answer({"text": "".join(one.text for one in heard)})

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


if __name__ == "__main__":
    main()
