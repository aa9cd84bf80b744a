"""Is every second accounted for? Words lost and invented, and times, on long and odd recordings.

    make bench-decoding

A real server hears the recordings of bench/recordings.py. With `--vllm FOLDER` vLLM's own server
does too, on the same weights in Hugging Face's layout; with `--faster-whisper PYTHON --peer-model
FOLDER` faster-whisper, with and without its own detector, at beam size 1 as ours; PYTHON is of an
environment that has it, FOLDER its conversion of the weights.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.options import model_settings, parser, with_model
from bench.recordings import Case, cases
from bench.scores import edits, left_out_near_cuts, said_twice, time_errors
from bench.transcribers import Heard, faster_whisper, ours, vllm_serve

Pairs = list[tuple[Case, Heard]]


def report(several: Sequence[Case], by: dict[str, list[Heard]]) -> None:
    """Print a table of the recordings, and one of all of them together."""
    table = Table(title="words exchanged / left out / put in (digits: characters)")
    for column in ("", "s", "words", *by):
        table.add_column(column, justify="right" if column else "left")
    for number, case in enumerate(several):
        words = edits(case, next(iter(by.values()))[number]).units
        cells = [_edits(case, heard[number]) for heard in by.values()]
        table.add_row(case.name, f"{case.seconds:.0f}", str(words), *cells)
    Console(width=200).print(table)
    whole = Table(title="together")
    for column in ("", *by):
        whole.add_column(column, justify="right" if column else "left")
    for name, figure in _FIGURES.items():
        pairs = [list(zip(several, heard, strict=True)) for heard in by.values()]
        whole.add_row(name, *(figure([one for one in p if not one[1].refused]) for p in pairs))
    Console(width=200).print(whole)


def _edits(case: Case, heard: Heard) -> str:
    if heard.refused:
        return "refused"
    one = edits(case, heard)
    return f"{one.exchanged} / {one.left_out} / {one.put_in}"


def _near_cuts(pairs: Pairs) -> str:
    counts = [left_out_near_cuts(c, h) for c, h in pairs if len(h.begun) > 1 and c.sentences]
    return f"{sum(lost for lost, _ in counts)} of {sum(near for _, near in counts)}"


def _languages(pairs: Pairs) -> str:
    right = [c.language == _code(h.language) for c, h in pairs if not c.is_language_told]
    return f"{sum(right)} of {len(right)}"


def _off(which: int) -> Callable[[Pairs], str]:
    def figure(pairs: Pairs) -> str:
        values = [errors[which] for c, h in pairs for errors in time_errors(c, h)]
        if not values:
            return "-"
        median, high = np.quantile(values, [0.5, 0.95])
        return f"{median:.2f} / {high:.2f} ({len(values)})"

    return figure


def _rtfx(pairs: Pairs) -> str:
    return f"{sum(c.seconds for c, _ in pairs) / sum(h.seconds for _, h in pairs):.1f}"


_FIGURES: dict[str, Callable[[Pairs], str]] = {
    "words where nobody speaks": lambda pairs: str(
        sum(edits(c, h).put_in for c, h in pairs if not c.sentences)
    ),
    "words said twice": lambda pairs: str(sum(said_twice(c, h) for c, h in pairs)),
    "left out within 2 s of our cuts": _near_cuts,
    "language right, behind silence": _languages,
    "start off by, median / p95, s": _off(0),
    "end off by, median / p95, s": _off(1),
    "audio seconds a second": _rtfx,
    "speech decoded again, s": lambda pairs: f"{sum(h.again for _, h in pairs):.1f}",
    "speech without text, s": lambda pairs: f"{sum(h.dropped for _, h in pairs):.1f}",
}


def _code(language: str) -> str:
    from app.languages import code_of

    return code_of(language) or language


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.decoding", __doc__, clips=100))
    wanted.add_argument("--vllm", metavar="FOLDER", help="weights for vLLM's own server")
    wanted.add_argument("--faster-whisper", metavar="PYTHON", help="of an environment with it")
    wanted.add_argument("--peer-model", metavar="FOLDER", help="the same weights for it")
    wanted.add_argument("--quantized", action="store_true", help="also what a start makes of it")
    wanted.add_argument("--without-vad", action="store_true", help="hear them without ours too")
    wanted.add_argument("--keep", type=Path, metavar="FILE", help="write what is heard, as JSON")
    asked = wanted.parse_args(argv)
    several = list(cases())[: asked.clips]
    by = {name: list(heard) for name, heard in _transcribers(asked, several)}
    if asked.keep:
        told = {name: [asdict(one) for one in heard] for name, heard in by.items()}
        asked.keep.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    report(several, by)


def _transcribers(
    asked: Namespace, several: Sequence[Case]
) -> Iterator[tuple[str, Iterator[Heard]]]:
    """Yield who is asked for, by name, and what they make of the recordings."""
    settings = model_settings(asked)
    yield "marlinscribe", ours(several, settings)
    if asked.quantized:
        yield "as started", ours(several, settings | {"quantization": "auto"})
    if asked.without_vad:
        yield "without its detector", ours(several, settings | {"vad": "false"})
    if asked.vllm:
        yield "vllm serve", vllm_serve(several, asked.vllm)
    if asked.faster_whisper:
        for how in ("vad", "plain"):
            heard = faster_whisper(several, asked.faster_whisper, asked.peer_model, how)
            yield f"faster-whisper, {how}", heard


if __name__ == "__main__":
    main()
