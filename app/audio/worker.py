"""The process that decodes strangers' recordings, one after another, for the server that started
it: see pool.py.

Standard input is a socket. For each recording one message comes, with two descriptors: the file,
and the memory its samples go to. One message goes back: how many samples and channels, or
which error.
"""

import io
import json
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

from app.audio import limits
from app.audio.decode import decode_to
from app.audio.recording import Selection
from app.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE
from app.errors import RequestError
from app.process import die_with

READY = b"ready"
_LARGEST_MESSAGE = 2**12  # bytes, of what is asked
_DESCRIPTORS = 5  # input, output, errors, and a recording's two


def main() -> None:
    die_with(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):  # the server finishes what is under way
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=sys.stdin.fileno()) as line:
        _warm()
        limits.confine(_DESCRIPTORS)
        line.send(READY)
        _serve(line)


def _warm() -> None:
    """Decode a moment of silence: once limits hold, no module can be loaded any more."""
    decode_to(lambda _: None, io.BytesIO(_SILENCE), max_seconds=1)


def _serve(line: socket.socket) -> None:
    while True:
        asked, descriptors, _, _ = socket.recv_fds(line, _LARGEST_MESSAGE, 2)
        if not asked:  # the server has closed its end
            return
        try:
            answer = _answer(json.loads(asked), *descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        line.send(json.dumps(answer | {"last": limits.is_worn()}).encode())


def _answer(asked: dict[str, Any], recording: int, samples: int) -> dict[str, Any]:
    time = limits.ProcessorTime(os.fstat(recording).st_size)

    def write(block: memoryview) -> None:
        time.earn(len(block) / SAMPLE_BYTES / SAMPLE_RATE)
        _write(samples, block)

    try:
        with open(recording, "rb", closefd=False) as file:
            file.seek(0)
            selection = Selection(asked["track"], asked["channel"])
            most = asked["max_seconds"]
            return asdict(decode_to(write, file, max_seconds=most, selection=selection))
    except RequestError as error:
        return {"error": type(error).__name__, "message": error.message, "param": error.param}


def _write(descriptor: int, block: memoryview) -> None:
    while block:
        block = block[os.write(descriptor, block) :]


# A tenth of a second at 8 kHz.
_SILENCE = (
    b"RIFF\x44\x03\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0"
    b"data\x20\x03\0\0" + 800 * b"\x80"
)

if __name__ == "__main__":
    main()
