"""Is every second accounted for? Words lost and invented, and times, on long and odd recordings.

    make bench-decoding

A real server hears the recordings of bench/recordings.py. With `--faster-whisper PYTHON
--peer-model FOLDER` faster-whisper does too, with and without its own detector, at beam size 1 as
ours; PYTHON is of an environment that has it, FOLDER its conversion of the same weights.
"""

import json
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from app.audio.waveform import SAMPLE_RATE
from app.recordings.error_rates import normalized
from app.recordings.writing_systems import UNSPACED
from bench.options import model_settings, parser, with_model
from bench.recordings import Case, Sentence, cases
from harness.server import Server

_PHRASE = 2  # words: one alone is also a way to spell
_NEAR = 20.0  # seconds that a sentence may be off and still be the same one


@dataclass(frozen=True)
class Heard:
    """What somebody made of a recording. again: seconds of speech that were decoded again."""

    segments: tuple[Sentence, ...]
    language: str
    seconds: float
    again: float = 0.0
    dropped: float = 0.0


@dataclass(frozen=True)
class Edits:
    """Words, or characters, of the reference, and how many were exchanged, left out and put in."""

    units: int
    exchanged: int
    left_out: int
    put_in: int

    @property
    def rate(self) -> float:
        return (self.exchanged + self.left_out + self.put_in) / max(1, self.units)


def ours(several: Sequence[Case], settings: dict[str, Any]) -> Iterator[Heard]:
    """Yield what our server makes of each recording."""
    with tempfile.TemporaryDirectory() as folder, Server(**settings) as server:
        for case in several:
            path = write(case, Path(folder) / "one.wav")
            fields = {"response_format": "verbose_json"}
            if case.is_language_told:
                fields["language"] = case.language
            begun = time.monotonic()
            with path.open("rb") as file:
                answer = httpx.post(
                    f"{server.url}/v1/audio/transcriptions",
                    data=fields,
                    files={"file": (path.name, file)},
                    timeout=3600,
                )
            body = answer.raise_for_status().json()
            segments = [Sentence(s["start"], s["end"], s["text"]) for s in body["segments"]]
            told = body.get("coverage", {"decoded_again": 0, "dropped": []})
            dropped = sum(one["end"] - one["start"] for one in told["dropped"])
            seconds = time.monotonic() - begun
            yield Heard(tuple(segments), body["language"], seconds, told["decoded_again"], dropped)


def theirs(several: Sequence[Case], python: str, model: str, how: str) -> Iterator[Heard]:
    """Yield what faster-whisper makes of each recording."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for number, case in enumerate(several):
            write(case, Path(folder) / f"{number}.wav")
            language = case.language if case.is_language_told else None
            tasks.append({"audio": f"{number}.wav", "language": language})
        (Path(folder) / "tasks.json").write_text(json.dumps(tasks), "utf-8")
        command = [python, "-m", "bench.peer_faster_whisper", model, folder, how]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in told.splitlines():
        body = json.loads(line)
        segments = tuple(Sentence(*one) for one in body["segments"])
        yield Heard(segments, body["language"], body["seconds"])


def write(case: Case, path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(case.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def edits(case: Case, heard: Heard) -> Edits:
    """Compare a transcript with what was said."""
    reference = units(case, " ".join(one.text for one in case.sentences))
    said = units(case, " ".join(one.text for one in heard.segments))
    kinds = [one.tag for one in Levenshtein.editops(reference, said)]
    return Edits(
        len(reference), kinds.count("replace"), kinds.count("delete"), kinds.count("insert")
    )


def units(case: Case, text: str) -> list[str]:
    plain = normalized(text, case.language)
    if case.is_counted_in_characters or case.language in UNSPACED:
        return list(plain.replace(" ", ""))
    return plain.split()


def said_twice(case: Case, heard: Heard) -> int:
    """Count the words that were put in and are those just before or behind them."""
    reference = units(case, " ".join(one.text for one in case.sentences))
    said = units(case, " ".join(one.text for one in heard.segments))
    put_in = [op.dest_pos for op in Levenshtein.editops(reference, said) if op.tag == "insert"]
    count = 0
    for _, run in groupby(enumerate(put_in), lambda one: one[1] - one[0]):
        places = [place for _, place in run]
        begin, end, size = places[0], places[-1] + 1, len(places)
        same = said[begin:end] in (said[max(0, begin - size) : begin], said[end : end + size])
        count += size * (same and size >= _PHRASE)
    return count


def time_errors(case: Case, heard: Heard) -> Iterator[tuple[float, float]]:
    """Yield how far off start and end of each sentence are that is a segment by itself."""
    left = [(one, units(case, one.text)) for one in heard.segments]
    for one in case.sentences:
        said = units(case, one.text)
        near = [other for other in left if abs(other[0].start - one.start) < _NEAR]
        same = [other for other in near if other[1] == said]
        if same:
            nearest = min(same, key=lambda other: abs(other[0].start - one.start))
            left.remove(nearest)
            yield abs(nearest[0].start - one.start), abs(nearest[0].end - one.end)


def report(several: Sequence[Case], by: dict[str, list[Heard]]) -> None:
    """Print a table of the recordings, and one of all of them together."""
    table = Table(title="words exchanged / left out / put in (digits: characters)")
    for column in ("", "s", "words", *by):
        table.add_column(column, justify="right" if column else "left")
    for number, case in enumerate(several):
        told = [edits(case, heard[number]) for heard in by.values()]
        cells = [f"{one.exchanged} / {one.left_out} / {one.put_in}" for one in told]
        table.add_row(case.name, f"{case.seconds:.0f}", str(told[0].units), *cells)
    Console(width=200).print(table)
    whole = Table(title="together")
    for column in ("", *by):
        whole.add_column(column, justify="right" if column else "left")
    for name, cells in summary(several, by):
        whole.add_row(name, *cells)
    Console(width=200).print(whole)


def summary(several: Sequence[Case], by: dict[str, list[Heard]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the figures of all recordings together, a cell for each who heard them."""
    pairs = {name: list(zip(several, heard, strict=True)) for name, heard in by.items()}
    yield (
        "words where nobody speaks",
        [
            str(sum(edits(c, h).put_in for c, h in heard if not c.sentences))
            for heard in pairs.values()
        ],
    )
    yield (
        "words said twice",
        [str(sum(said_twice(c, h) for c, h in heard)) for heard in pairs.values()],
    )
    yield (
        "language right, behind silence",
        [
            _share([c.language == _code(h.language) for c, h in heard if not c.is_language_told])
            for heard in pairs.values()
        ],
    )
    for which, name in enumerate(("start", "end")):
        yield (
            f"{name} off by, median / p95, s",
            [
                _quantiles([e[which] for c, h in heard for e in time_errors(c, h)])
                for heard in pairs.values()
            ],
        )
    yield (
        "audio seconds a second",
        [
            f"{sum(c.seconds for c, _ in heard) / sum(h.seconds for _, h in heard):.1f}"
            for heard in pairs.values()
        ],
    )
    yield "speech decoded again, s", [f"{sum(h.again for _, h in p):.1f}" for p in pairs.values()]
    yield "speech without text, s", [f"{sum(h.dropped for _, h in p):.1f}" for p in pairs.values()]


def _code(language: str) -> str:
    from app.languages import code_of

    return code_of(language) or language


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right)} of {len(right)}"


def _quantiles(values: Sequence[float]) -> str:
    if not values:
        return "-"
    median, high = np.quantile(values, [0.5, 0.95])
    return f"{median:.2f} / {high:.2f} ({len(values)})"


def main(argv: Sequence[str] | None = None) -> None:
    wanted = with_model(parser("bench.decoding", __doc__, clips=100))
    wanted.add_argument("--faster-whisper", metavar="PYTHON", help="of an environment with it")
    wanted.add_argument("--peer-model", metavar="FOLDER", help="the same weights for it")
    wanted.add_argument("--without-vad", action="store_true", help="hear them without ours too")
    wanted.add_argument("--keep", type=Path, metavar="FILE", help="write what is heard, as JSON")
    asked = wanted.parse_args(argv)
    several = list(cases())[: asked.clips]
    settings = model_settings(asked)
    by = {"marlinscribe": list(ours(several, settings))}
    if asked.without_vad:
        by["without its detector"] = list(ours(several, settings | {"vad": "false"}))
    if asked.faster_whisper:
        for how in ("vad", "plain"):
            heard = theirs(several, asked.faster_whisper, asked.peer_model, how)
            by[f"faster-whisper, {how}"] = list(heard)
    if asked.keep:
        told = {name: [asdict(one) for one in heard] for name, heard in by.items()}
        asked.keep.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    report(several, by)


if __name__ == "__main__":
    main()
