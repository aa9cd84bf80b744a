"""What every client is asked, and what it must get."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.server import DEMO

MAYDAY = DEMO / "recordings" / "radio.mp3"
WORDS = (DEMO / "recordings" / "radio.txt").read_text("utf-8").strip()
NO_SOUND = DEMO / "README.md"
SEGMENT_FIELDS = {
    "id", "seek", "start", "end", "text", "tokens",
    "temperature", "avg_logprob", "compression_ratio", "no_speech_prob",
}  # fmt: skip

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`check` raises AssertionError where the outcome is not whole."""

    name: str
    check: Callable[[Outcome], None]
    fields: dict[str, Any] = field(default_factory=dict)
    task: str = "transcriptions"
    file: str = str(MAYDAY)
    key: str = "first"
    retries: int = 2


def body(outcome: Outcome) -> Any:
    assert "body" in outcome, outcome
    return outcome["body"]


def is_json(outcome: Outcome) -> None:
    assert body(outcome)["text"] == WORDS, outcome
    assert body(outcome)["usage"]["type"] == "duration", outcome
    assert 8 < body(outcome)["usage"]["seconds"] < 9, outcome


def has_logprobs(outcome: Outcome) -> None:
    is_json(outcome)
    logprobs = body(outcome)["logprobs"]
    assert all(one["logprob"] <= 0 for one in logprobs), outcome
    spelt = b"".join(bytes(int(b) for b in one["bytes"]) for one in logprobs)
    assert spelt.decode().strip() == WORDS, outcome


def is_text(outcome: Outcome) -> None:
    assert body(outcome) == WORDS + "\n", outcome


def is_srt(outcome: Outcome) -> None:
    cues = re.findall(
        r"(\d+)\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n((?:.+\n)+)\n", body(outcome)
    )
    assert " ".join(text for _, lines in cues for text in lines.splitlines()) == WORDS, outcome
    assert [int(number) for number, _ in cues] == list(range(1, len(cues) + 1)), outcome


def is_vtt(outcome: Outcome) -> None:
    assert body(outcome).startswith("WEBVTT\n\n"), outcome
    cues = re.findall(
        r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}\n((?:.+\n)+)\n", body(outcome)
    )
    assert " ".join(text for lines in cues for text in lines.splitlines()) == WORDS, outcome


def is_verbose(outcome: Outcome) -> None:
    _whole_verbose(body(outcome), "transcribe")


def has_words(outcome: Outcome) -> None:
    """Segments are there too, whether they are asked for or not."""
    is_verbose(outcome)
    _whole_words(body(outcome)["words"])


def _whole_words(words: list[dict[str, Any]]) -> None:
    assert " ".join(one["word"] for one in words) == WORDS, words
    times = [time for one in words for time in (one["start"], one["end"])]
    assert times == sorted(times), words
    assert 0 <= times[0] < times[-1] <= 9, words
    assert all(0 <= one["probability"] <= 1 for one in words), words


def _whole_verbose(told: dict[str, Any], task: str) -> None:
    assert (told["task"], told["language"]) == (task, "english"), told
    assert 8 < float(told["duration"]) < 9, told
    if task == "transcribe":
        assert told["text"] == WORDS, told
    assert told["segments"], told
    for segment in told["segments"]:
        assert set(segment) >= SEGMENT_FIELDS, segment
        # What the demo makes up for a translation may have no length.
        least = 0.0 if task == "translate" else 0.001
        assert 0 <= segment["start"] <= segment["end"] - least <= 9, segment


def is_translation(outcome: Outcome) -> None:
    """The demo was not trained to translate: what comes back is looked at for its shape alone."""
    _whole_verbose(body(outcome), "translate")


def is_stream(outcome: Outcome) -> None:
    assert "events" in outcome, outcome
    *before, done = outcome["events"]
    assert (done["type"], done["text"]) == ("transcript.text.done", WORDS), outcome
    deltas = [event["delta"] for event in before if event["type"] == "transcript.text.delta"]
    segments = [event for event in before if event["type"] == "transcript.text.segment"]
    assert "".join(deltas) == WORDS, outcome
    assert len(segments) == len(deltas) == len(before) / 2, outcome
    assert all(0 <= one["start"] < one["end"] <= 9 for one in segments), outcome


def is_verbose_stream(outcome: Outcome) -> None:
    is_stream(outcome)
    _whole_verbose(outcome["events"][-1], "transcribe")


def is_word_stream(outcome: Outcome) -> None:
    is_verbose_stream(outcome)
    told = [one["words"] for one in outcome["events"] if one["type"] == "transcript.text.segment"]
    _whole_words([one for words in told for one in words])
    _whole_words(outcome["events"][-1]["words"])


def is_logprob_stream(outcome: Outcome) -> None:
    is_stream(outcome)
    deltas = [one["logprobs"] for one in outcome["events"] if "delta" in one]
    assert [one for of_delta in deltas for one in of_delta] == outcome["events"][-1]["logprobs"]


def is_error(status: int, code: str, param: str | None) -> Callable[[Outcome], None]:
    def check(outcome: Outcome) -> None:
        error = outcome.get("error", {})
        assert error.get("status") == status, outcome
        assert (error.get("code"), error.get("param")) == (code, param), outcome

    return check


def formatted(name: str, check: Callable[[Outcome], None], **fields: Any) -> Case:
    return Case(name, check, {"model": "whisper-1", **fields})


CASES = [
    formatted("json", is_json),
    formatted("json, logprobs", has_logprobs, include=["logprobs"]),
    formatted("text", is_text, response_format="text"),
    formatted("srt", is_srt, response_format="srt"),
    formatted("vtt", is_vtt, response_format="vtt"),
    formatted("verbose_json", is_verbose, response_format="verbose_json"),
    formatted(
        "verbose_json, segment times", is_verbose,
        response_format="verbose_json", timestamp_granularities=["segment"],
    ),
    formatted(
        "verbose_json, word times", has_words,
        response_format="verbose_json", timestamp_granularities=["word"],
    ),
    formatted(
        "verbose_json, word and segment times", has_words,
        response_format="verbose_json", timestamp_granularities=["word", "segment"],
    ),
    formatted(  # a text goes out without the brackets that a list's name gets
        "verbose_json, word times unbracketed", has_words,
        response_format="verbose_json", timestamp_granularities="word",
    ),
    formatted(
        "every other field", is_json,
        language="en", temperature=0, chunking_strategy="auto", prompt="",
    ),
    Case(
        "translations, verbose_json", is_translation,
        {"model": "whisper-1", "response_format": "verbose_json"}, "translations",
    ),
    formatted("stream", is_stream, stream=True),
    formatted("stream, text", is_stream, stream=True, response_format="text"),
    formatted("stream, logprobs", is_logprob_stream, stream=True, include=["logprobs"]),
    formatted(
        "stream, verbose_json", is_verbose_stream, stream=True, response_format="verbose_json"
    ),
    formatted(
        "stream, verbose_json, word times", is_word_stream,
        stream=True, response_format="verbose_json", timestamp_granularities=["word"],
    ),
    Case("error: unknown model", is_error(404, "model_not_found", "model"), {"model": "gpt-9"}),
    formatted("error: bad field", is_error(400, "invalid_value", "language"), language="klingon"),
    formatted(
        "error: word times in json", is_error(400, "invalid_value", "timestamp_granularities"),
        response_format="json", timestamp_granularities=["word"],
    ),
    Case(
        "error: not audio", is_error(415, "not_audio", "file"),
        {"model": "whisper-1"}, file=str(NO_SOUND),
    ),
    Case(
        "error: wrong key", is_error(401, "invalid_api_key", None),
        {"model": "whisper-1"}, key="none",
    ),
]  # fmt: skip

# Asked while the server is still starting: the client must wait as Retry-After says and try again.
WHILE_STARTING = Case("retries while the server starts", is_json, {"model": "whisper-1"}, retries=9)
