"""Whether an answer to a damaged request is a whole one, for tests/contract/fuzz.py."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

import httpx

# What an answer in JSON is about, where it is no transcript.
OBJECTS = {"transcription.job", "list", "file", "batch"}


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    transcripts: int = 0
    slowest: float = 0.0
    memory: list[tuple[int, float]] = field(default_factory=list)


def fault_of(answer: httpx.Response, tally: Tally) -> str:
    """What is wrong with an answer, "" where nothing is; counts it."""
    if answer.status_code >= 400:
        return _fault_of_error(answer, tally)
    kind = answer.headers.get("content-type", "").split(";")[0]
    tally.answers[f"{answer.status_code} {kind}"] += 1
    try:
        _check(answer, kind, tally)
    except (ValueError, LookupError, AssertionError) as error:
        return f"{answer.status_code}, but {error!r}: {answer.text[:300]}"
    return ""


def _fault_of_error(answer: httpx.Response, tally: Tally) -> str:
    if answer.request.method == "HEAD":
        tally.answers[f"{answer.status_code} to HEAD"] += 1
        return f"{answer.status_code}" if answer.status_code >= 500 else ""
    try:
        error = answer.json()["error"]
        tally.answers[f"{answer.status_code} {error['code']}"] += 1
        whole = set(error) == {"message", "type", "param", "code"} and error["message"]
    except (ValueError, LookupError, TypeError):
        return f"{answer.status_code} outside the envelope: {answer.text[:300]}"
    if answer.status_code >= 500 or not whole or "Traceback" in answer.text:
        return f"{answer.status_code}: {answer.text[:300]}"
    return ""


def _check(answer: httpx.Response, kind: str, tally: Tally) -> None:
    """Raises AssertionError, ValueError or LookupError where an answer is not whole."""
    if answer.request.method == "HEAD":
        return
    if kind == "application/json":
        told = answer.json()
        if told.get("object") in OBJECTS or "detected_language" in told:
            return
        told["text"]
    elif kind == "text/event-stream":
        _check_stream(answer.text)
    elif kind == "text/vtt":
        assert answer.text.startswith("WEBVTT\n\n"), "no WebVTT"
    elif kind == "application/octet-stream":
        assert len(answer.content) == int(answer.headers["content-length"]), "half a file"
        return
    else:
        assert kind in ("text/plain", "application/x-subrip"), "another kind of body"
    tally.transcripts += 1


def _check_stream(text: str) -> None:
    """A stream ends with its text or its job, or with an error."""
    data = re.findall(r"^data: (.*)$", text, re.MULTILINE)
    if data[-1] != "[DONE]":
        assert json.loads(data[-1])["error"]["message"], "a stream without its end"
        return
    last = json.loads(data[-2])
    assert "text" in last or "job" in last, "a stream without its text"
