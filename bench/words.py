"""How far off the times of words are, and what they cost.

    make bench-words

A real server hears the recordings of bench/word_recordings.py, each with the times of its words and
without, in turn. With `--faster-whisper PYTHON --peer-model FOLDER` faster-whisper does too, at
beam size 1 as ours, with its own detector and without; with `--openai-whisper PYTHON --peer-pt
MODEL` openai/whisper, and with `--stable-ts PYTHON --peer-pt MODEL` stable-ts. PYTHON is of an
environment that has it; FOLDER and MODEL are the same weights, as bench/peer_faster_whisper.py and
bench/peer_whisper.py read them. Then the server is asked for a clip of five seconds with words and
without, and to stream to others meanwhile (bench/word_speed.py).
"""

import json
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.options import model_settings, parser, with_model
from bench.transcribers import Heard, Task, ours_in_words, peer
from bench.word_recordings import Timed, timed
from bench.word_scores import FAR, Score, off, score, total
from bench.word_speed import speeds

_COLUMNS = (
    "",
    "recordings",
    "words",
    "the same",
    "start off, ms\nmedian / p95",
    f"over\n{1000 * FAR:.0f} ms",
    "late by,\nmedian",
    "end off, ms\nmedian / p95",
    "left\nout",
    "twice",
    "over-\nlap",
    "back",
    "in / over\nsilence",
    "not the\ntext",
    "with words\n/ without",
)


class Answer(NamedTuple):
    """What somebody made of a recording, with words and without."""

    one: Timed
    words: Heard
    plain: Heard


class Row(NamedTuple):
    """What somebody made of several recordings: their score, None where they were refused, and the
    seconds that they took with words and without."""

    who: str
    recordings: str
    score: Score | None
    seconds: float
    without: float


def main(argv: Sequence[str] | None = None) -> None:
    asked = _options().parse_args(argv)
    told: dict[str, Any] = {}
    if asked.only != "speed":
        answers = dict(_answers(asked, list(timed())[: asked.clips]))
        report([row for who, several in answers.items() for row in rows(who, several)])
        told["times"] = {who: list(map(_kept, several)) for who, several in answers.items()}
    if asked.only != "times":
        told["speed"] = [one._asdict() for one in speeds(model_settings(asked), asked.rounds)]
    if asked.keep:
        asked.keep.write_text(json.dumps(told, ensure_ascii=False), "utf-8")


def _options() -> ArgumentParser:
    wanted = with_model(parser("bench.words", __doc__, clips=100, rounds=8))
    wanted.add_argument("--only", choices=("times", "speed"), help="one of the two parts")
    wanted.add_argument("--faster-whisper", metavar="PYTHON", help="of an environment with it")
    wanted.add_argument("--peer-model", metavar="FOLDER", help="the same weights for it")
    wanted.add_argument("--openai-whisper", metavar="PYTHON", help="of an environment with it")
    wanted.add_argument("--stable-ts", metavar="PYTHON", help="of an environment with it")
    wanted.add_argument("--peer-pt", metavar="MODEL", help="the same weights for these two")
    wanted.add_argument("--quantized", action="store_true", help="also what a start makes of it")
    wanted.add_argument("--keep", type=Path, metavar="FILE", help="write all of it, as JSON")
    return wanted


def _answers(asked: Namespace, several: Sequence[Timed]) -> Iterator[tuple[str, list[Answer]]]:
    """Yield who is asked for, by name, and what they make of the recordings."""
    for who, heard in _transcribers(asked, tasks(several)):
        yield who, paired(several, list(heard))


def tasks(several: Sequence[Timed]) -> list[Task]:
    """Return each recording with words and without; which is first changes. The shortest one, in
    front, warms."""
    warming = Task(min((one.case for one in several), key=lambda case: case.seconds), words=True)
    turns = ((one, words) for number, one in enumerate(several) for words in _turn(number))
    return [warming, *(Task(one.case, words) for one, words in turns)]


def _turn(number: int) -> tuple[bool, bool]:
    return (True, False) if number % 2 else (False, True)


def paired(several: Sequence[Timed], heard: Sequence[Heard]) -> list[Answer]:
    """Return what was made of `tasks`, by recording."""
    answers = []
    for number, one in enumerate(several):
        by_words = dict(zip(_turn(number), heard[1 + 2 * number :][:2], strict=True))
        answers.append(Answer(one, by_words[True], by_words[False]))
    return answers


def _transcribers(
    asked: Namespace, several: Sequence[Task]
) -> Iterator[tuple[str, Iterator[Heard]]]:
    settings = model_settings(asked)
    yield "marlinscribe", ours_in_words(several, settings)
    if asked.quantized:
        yield "as started", ours_in_words(several, settings | {"quantization": "auto"})
    for how in ("vad", "plain") if asked.faster_whisper else ():
        command = [asked.faster_whisper, "-m", "bench.peer_faster_whisper", asked.peer_model, how]
        yield f"faster-whisper, {how}", peer(several, command)
    for who, python in (("openai", asked.openai_whisper), ("stable-ts", asked.stable_ts)):
        if python:
            yield who, peer(several, [python, "-m", "bench.peer_whisper", asked.peer_pt, who])


def rows(who: str, several: Sequence[Answer]) -> Iterator[Row]:
    """Yield a row for each kind of recordings."""

    def kind(answer: Answer) -> str:
        return f"{answer.one.row}, {answer.one.case.language}"

    for recordings, group in groupby(sorted(several, key=kind), key=kind):
        of = list(group)
        scores = [score(a.one, a.words) for a in of if not a.words.refused]
        seconds, without = (sum(a.words.seconds for a in of), sum(a.plain.seconds for a in of))
        yield Row(who, recordings, total(scores) if scores else None, seconds, without)


def report(several: Sequence[Row]) -> None:
    """Print a table, those beside each other who heard the same."""
    table = Table(title="times of words", padding=(0, 0))
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column not in _COLUMNS[:2] else "left")
    names = list(dict.fromkeys(row.recordings for row in several))
    for row in sorted(several, key=lambda row: names.index(row.recordings)):
        table.add_row(row.who, row.recordings, *cells(row))
        if row is [one for one in several if one.recordings == row.recordings][-1]:
            table.add_section()
    Console(width=180).print(table)


def cells(row: Row) -> list[str]:
    """Return a row's figures."""
    one = row.score
    if one is None:
        return ["refused"]
    far = [abs(error) > FAR for error in one.starts]
    return [
        str(one.said),
        str(one.matched),
        f"{_ms(off(one.starts, 0.5))} / {_ms(off(one.starts, 0.95))}",
        f"{100 * sum(far) / max(1, len(far)):.1f} %",
        _ms(one.late),
        f"{_ms(off(one.ends, 0.5))} / {_ms(off(one.ends, 0.95))}",
        *map(str, (one.missing, one.twice, one.overlapping, one.backward)),
        f"{one.in_a_gap} / {one.over_a_gap}",
        str(one.unlike),
        f"{row.seconds / row.without:.2f}",
    ]


def _ms(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{1000 * seconds:.0f}"


def _kept(answer: Answer) -> dict[str, Any]:
    heard = {"words": asdict(answer.words), "plain": asdict(answer.plain)}
    return {"name": answer.one.case.name, "row": answer.one.row, **heard}


if __name__ == "__main__":
    main()
