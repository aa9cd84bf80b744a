"""What clients of other servers, and programs that call OpenAI's API by hand, are seen to get: a
row for each, asked by the library or the command line that the program itself calls with."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.audio.decode import decode
from tests.contract.cases import MAYDAY, WORDS, is_srt
from tests.wild_clients import raw


@dataclass(frozen=True)
class Other:
    """program: what asks, and by which library. asks: for what. way: a
    program in clients/, and which of its ways. check: of what it printed; raises AssertionError."""

    program: str
    asks: str
    way: tuple[str, str]
    check: Callable[[Any], None]


def is_text(told: Any) -> None:
    assert told == WORDS, told


def is_lines(told: Any) -> None:
    """Segments, each on a line, as whisper.cpp has them."""
    assert " ".join(told.split()) == WORDS, told


def is_subtitle(told: Any) -> None:
    is_srt({"body": told})


def is_english(told: Any) -> None:
    assert (told["detected_language"], told["language_code"]) == ("english", "en"), told
    assert 0.5 < told["confidence"] <= 1, told


def has_own_words(told: Any) -> None:
    assert (told["language"], told["task"]) == ("english", "transcribe"), told
    words = [word["word"] for segment in told["segments"] for word in segment["words"]]
    assert "".join(words).strip() == WORDS, told


def is_listed_and_streamed(told: Any) -> None:
    assert "whisper-1" in told["models"], told
    assert told["text"] == WORDS, told


def is_ok(told: Any) -> None:
    assert told == "200", told


REQUESTS, CURL, AZURE, SDK = "by_requests.py", "curl_lines.py", "azure.py", "home_assistant.py"
LANGCHAIN, GROQ = "langchain_parser.py", "groq_sdk.py"
OTHERS = [
    Other("Bazarr (requests)", "`/asr`, raw sound, `srt`", (REQUESTS, "bazarr_asr"), is_subtitle),
    Other(
        "Bazarr (requests)", "`/detect-language`, raw sound", (REQUESTS, "bazarr_language"),
        is_english,
    ),
    Other(
        "Open WebUI (requests)",
        "`language`, and as `model` `whisper-large-v3-turbo`, `base` or `Systran/…`",
        (REQUESTS, "open_webui"), is_text,
    ),
    Other(
        "OpenRouter's example (requests)", "a JSON body with `input_audio`",
        (REQUESTS, "openrouter"), is_text,
    ),
    Other("whisper.cpp's README (curl)", "`/inference`, `json`", (CURL, "whisper_cpp"), is_lines),
    Other(
        "whisper.cpp's README (curl)", "`/inference`, `verbose_json`",
        (CURL, "whisper_cpp_verbose"), has_own_words,
    ),
    Other("n8n's fields (curl)", "`whisper-1`, language, temperature", (CURL, "n8n"), is_text),
    Other("curl", "`/audio/transcriptions`, key in `x-api-key`", (CURL, "no_version"), is_text),
    Other(
        "openai (Python), AzureOpenAI", "a deployment's path, key in `api-key`",
        (AZURE, "azure"), is_text,
    ),
    Other(
        "wyoming_openai's calls (openai, Python)", "`whisper-1` in `/v1/models`, then a stream",
        (SDK, "listed"), is_listed_and_streamed,
    ),
    Other(
        "fabio-garavini's integration for Home Assistant (requests)",
        "`whisper-1` in `/v1/models`, then a WAV", (REQUESTS, "home_assistant"), is_text,
    ),
    Other(
        "LangChain's calls (openai, Python)", "mp3 from memory, `language`",
        (LANGCHAIN, "parser"), is_text,
    ),
    Other(
        "groq (Python)", "`whisper-large-v3-turbo`, `verbose_json`", (GROQ, "recording"), is_text
    ),
    Other(
        "groq (Python)", "`/openai/v1/files`, `/openai/v1/batches` and their results",
        (GROQ, "batch"), is_text,
    ),
    Other("curl", "`HEAD /health`", (CURL, "head"), is_ok),
]  # fmt: skip


def seen(url: str, commands: dict[str, list[str]], folder: Any, key: str) -> dict[Other, str]:
    """What was wrong with each row, "" where nothing was. commands: how each program is run."""
    with MAYDAY.open("rb") as file:
        sound = folder / "mayday.s16le"
        sound.write_bytes(raw(decode(file, max_seconds=60).samples))
    asked = {"url": url, "key": key, "file": str(MAYDAY), "raw": str(sound)}
    return {one: _fault(one, commands[one.way[0]], asked) for one in OTHERS}


def _fault(one: Other, command: list[str], asked: dict[str, str]) -> str:
    done = subprocess.run(
        [*command, one.way[1]], input=json.dumps(asked), capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr[-500:]
    try:
        one.check(json.loads(done.stdout))
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


def render(rows: dict[Other, str]) -> str:
    lines = ["| Client | asks for | gets it |", "| --- | --- | --- |"]
    for one, fault in rows.items():
        lines.append(f"| {one.program} | {one.asks} | {'**no**' if fault else 'yes'} |")
    return "\n".join(lines)
