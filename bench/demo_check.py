"""The demo checkpoint's error rates, 4-bit beside unquantized, through the real server.

Every test recording is sent without a language, a few at a time. CER and WER are over the words
as they stand, punctuation and case included; CER ignores spaces' number but not their place.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jiwer
from rich.console import Console
from rich.table import Table

from bench.options import parser
from bench.rows import RECORDINGS, Row, rows
from harness.server import Server

AT_ONCE = 8


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.demo_check", __doc__, clips=len(rows())).parse_args(argv)
    taken = rows(asked.clips)
    seconds = sum(row["duration"] for row in taken)
    table = Table(title=f"{len(taken)} recordings, {seconds:.0f} s", highlight=False)
    for column in ("", "CER en", "WER en", "CER zh", "language", "weights MB", "RTFx"):
        table.add_column(column, justify="right" if column else "left")
    for quantization in ("gptq", "none"):
        with Server(quantization=quantization) as server:
            table.add_row(*measure(server, taken, seconds))
    Console().print(table)


def measure(server: Server, taken: list[Row], seconds: float) -> list[str]:
    """One server's row."""

    def transcribe(row: Row) -> dict[str, Any]:
        answer = server.transcribe(RECORDINGS / row["audio"], response_format="verbose_json")
        return answer.raise_for_status().json()

    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(transcribe, taken))
    elapsed = time.monotonic() - started

    def pairs(language: str) -> tuple[list[str], list[str]]:
        both = [
            (row["text"], answer["text"])
            for row, answer in zip(taken, answers, strict=True)
            if row["language"] == language
        ]
        return [a for a, _ in both], [b for _, b in both]

    names = {"en": "english", "zh": "chinese"}
    right = sum(names[r["language"]] == a["language"] for r, a in zip(taken, answers, strict=True))
    model = httpx.get(f"{server.url}/v1/models").json()["data"][0]["marlinscribe"]
    return [
        model["scheme"],
        f"{jiwer.cer(*pairs('en')):.1%}",
        f"{jiwer.wer(*pairs('en')):.1%}",
        f"{jiwer.cer(*pairs('zh')):.1%}",
        f"{right}/{len(taken)}",
        f"{model['weight_bytes'] / 1e6:.1f}",
        f"{seconds / elapsed:.1f}",
    ]


if __name__ == "__main__":
    main()
