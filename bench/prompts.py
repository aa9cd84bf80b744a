"""What a prompt does to the test recordings: spellings changed, nothing lost.

Every recording is sent through the real server without a prompt, behind a prompt in its own
spelling, behind keywords that spell its words otherwise, and behind prompts that have nothing to
do with it or are far too long. A clip counts as cut short where it has lost more than a fifth of
its letters by the reference.
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jiwer
from rich.console import Console
from rich.table import Table

from bench.options import parser
from bench.rows import RECORDINGS, Row, rows
from demo.recipe.prompts import SPELLINGS, respelt
from demo.recipe.radio import Radio
from harness.server import Server

AT_ONCE = 8
LOST = 0.2


def other(row: Row) -> dict[str, str]:
    """The words of a recording that have another spelling, and it."""
    spellings = SPELLINGS[row["language"]]
    return {word: spellings[word] for word in spellings if word in row["text"]}


def talk(row: Row, sentences: int, language: str | None = None) -> str:
    radio = Radio(random.Random(row["audio"]), language or row["language"])
    return " ".join(radio.sentence() for _ in range(sentences))


@dataclass(frozen=True)
class Condition:
    """fields: what is sent beside the file; expected: the text that is then right."""

    name: str
    fields: Callable[[Row], dict[str, Any]]
    expected: Callable[[Row], str] = lambda row: row["text"]
    rows: Callable[[Row], bool] = lambda row: True


CONDITIONS = [
    Condition("no prompt", lambda row: {}),
    Condition("talk before it", lambda row: {"prompt": talk(row, 2)}),
    Condition(
        "keywords, as it spells them",
        lambda row: {"keywords[]": list(other(row))},
        rows=lambda row: bool(other(row)),
    ),
    Condition(
        "keywords, spelt otherwise",
        lambda row: {"keywords[]": list(other(row).values())},
        lambda row: respelt(row["text"], other(row)),
        lambda row: bool(other(row)),
    ),
    Condition(
        "talk and keywords, spelt otherwise",
        lambda row: {"prompt": talk(row, 3), "keywords[]": list(other(row).values())},
        lambda row: respelt(row["text"], other(row)),
        lambda row: bool(other(row)),
    ),
    Condition("the other language", lambda row: {
        "prompt": talk(row, 2, "zh" if row["language"] == "en" else "en")
    }),
    Condition("nonsense", lambda row: {"prompt": "qwv xzj 0391 " * 9}),
    Condition("1000 tokens and more", lambda row: {"prompt": talk(row, 120)}),
    Condition("special tokens alone", lambda row: {"prompt": "<|endoftext|><|nospeech|>"}),
]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.prompts", __doc__, clips=len(rows())).parse_args(argv)
    taken = rows(asked.clips)
    table = Table(title=f"{len(taken)} test recordings through the real server")
    for column in ("prompt", "clips", "CER en", "CER zh", "spelt as prompted", "cut short"):
        table.add_column(column, justify="right" if column != "prompt" else "left")
    with tempfile.TemporaryDirectory() as cache, Server(cache_dir=cache) as server:
        for condition in CONDITIONS:
            table.add_row(*measured(server, condition, taken))
    Console().print(table)


def measured(server: Server, condition: Condition, taken: list[Row]) -> list[str]:
    asked = [row for row in taken if condition.rows(row)]

    def transcribe(row: Row) -> str:
        path = RECORDINGS / row["audio"]
        answer = server.transcribe(path, **condition.fields(row))
        answer.raise_for_status()
        return answer.json()["text"]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        heard = list(pool.map(transcribe, asked))
    expected = [condition.expected(row) for row in asked]
    cers = []
    for language in ("en", "zh"):
        pairs = [
            (e, h) for row, e, h in zip(asked, expected, heard, strict=True)
            if row["language"] == language
        ]  # fmt: skip
        cer = jiwer.cer([e for e, _ in pairs], [h for _, h in pairs]) if pairs else None
        cers.append("" if cer is None else f"{100 * cer:.1f}%")
    cut = sum(len(h) < (1 - LOST) * len(e) for e, h in zip(expected, heard, strict=True))
    return [condition.name, str(len(asked)), *cers, spelt(condition, asked, heard), str(cut)]


def spelt(condition: Condition, asked: list[Row], heard: list[str]) -> str:
    """How many of the words that the prompt spells otherwise came out as it does."""
    if "otherwise" not in condition.name:
        return ""
    words = [
        (text, old, new)
        for row, text in zip(asked, heard, strict=True)
        for old, new in other(row).items()
    ]
    new_ones = sum(new in text for text, _, new in words)
    old_ones = sum(old in text for text, old, _ in words)
    return f"{new_ones} of {len(words)} ({old_ones} as ever)"


if __name__ == "__main__":
    main()
