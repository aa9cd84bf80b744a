"""What methods of quantization cost in accuracy, and what bits save: Edge-ASR's table.

    make bench-quantize
    python -m bench.quantize [--model NAME] [--write]

Each of eight methods makes weights of eight, four, three and two bits of OpenAI's whisper-base; the
bundled judge's words are then written by teacher forcing, and what the loss has grown by and how
often the same token is the likeliest stand beside the bytes that are read and the bit operations
(bench/method_costs.py). What nothing here serves is emulated, in float32. Calibrated methods hear
64 recordings (AWQ and AutoRound a quarter of them, for they hear each many times), and AutoRound
takes 20 steps a layer.

A run takes hours of one core. Each row is kept as it is done: one that was ended goes on. `--show`
prints what is known. bench.quantize_demo is the same question put to the demo's checkpoint, through
the service's own jobs.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from app.checkpoints.result_cache import ResultCache
from app.environment import DEMO, DEMO_MODEL
from app.quantization.quantizer_process import Quantizer
from app.quantization.settings_recipe import default_calibration
from app.recordings.read import digest
from app.recordings.spec import Recordings
from app.settings import Settings
from app.sources.resolve import resolve
from bench.method_costs import Cost, encode_cost, token_cost
from bench.method_rows import METHODS, Row, rows
from bench.options import parser

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quantization.md"
BEGIN, END = "<!-- bench-quantize -->", "<!-- /bench-quantize -->"
HEAD = (
    "| method | bits | group | NLL + | agreement "
    "| encode MB | encode Tbop | token MB | token Gbop |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
_LEARNED = 64  # recordings

_PROJECT = Path(__file__).resolve().parent.parent


class Bench:
    """A run of the table, and what former runs have found."""

    def __init__(self, settings: Settings, clips: int, wanted: Sequence[Row]) -> None:
        self._settings, self._clips, self._rows = settings, clips, wanted
        self.source = resolve(settings.model, settings.cache_dir)

    @cached_property
    def folder(self) -> Path:
        """The folder of this run's figures: they hold for these recordings and versions."""
        settings = self._settings
        quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)
        facts: dict[str, Any] = {"source": self.source.identity()}
        facts["versions"] = quantizer.versions()
        facts |= {"learned": digest(self._learned), "judged": digest(self._judge)}
        return settings.cache_dir / "methods" / ResultCache.key(**facts)

    @property
    def _learned(self) -> Recordings:
        recordings = default_calibration(self._settings, self.source)
        samples = min(_LEARNED, self._settings.calibration_samples)
        return recordings.model_copy(update={"samples": samples})

    @property
    def _judge(self) -> Recordings:
        demo = self.source.folder == DEMO_MODEL
        folder = DEMO / "recordings" / ("test" if demo else "voices/judge")
        return Recordings(sources=(str(folder),), samples=self._clips)

    def measure(self) -> None:
        """Measure the rows whose figures are not known."""
        job = {
            "folder": str(self.source.folder),
            "calibration": self._learned.model_dump(mode="json"),
            "judge": self._judge.model_dump(mode="json"),
            "rows": [asdict(row) for row in self._rows],
            "done": str(self.folder),
        }
        path = [str(p) for p in (self._settings.quantizer_overlay, _PROJECT) if p is not None]
        command = [self._settings.quantizer_python, "-m", "bench.method_losses"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        subprocess.run(command, input=json.dumps(job), text=True, env=environment, check=True)

    def figures(self) -> dict[Row, dict[str, Any]]:
        """Return what is known, by row."""
        paths = {row: self.folder / f"{row.name}.json" for row in self._rows}
        return {row: json.loads(path.read_text()) for row, path in paths.items() if path.exists()}

    def table(self) -> str:
        """Return the table, blank where a row is not known."""
        return "\n".join([HEAD, *table(self.source.config, self._rows, self.figures())])


def table(
    config: Mapping[str, Any], wanted: Sequence[Row], figures: Mapping[Row, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the source's line and a line for each row; what was not measured is left blank."""
    yield _line("none", "W16A16", "", "", "", *_costs(config, None))
    for row in sorted(wanted, key=_place):
        size = str(row.making.group_size)
        named = (METHODS[row.making.method], row.bits, size, *_losses(figures.get(row)))
        yield _line(*named, *_costs(config, row))


def _place(row: Row) -> tuple[Any, ...]:
    """Return a row's place: the most bits first, groups of 128 before others."""
    size = row.making.group_size
    others = (size != 128, size == "channel", 0 if size == "channel" else size)
    return -row.making.bits, -row.activations, others, list(METHODS).index(row.making.method)


def _losses(figures: Mapping[str, Any] | None) -> tuple[str, str]:
    if figures is None:
        return "", ""
    added, alike = (figures["overall"][name] for name in ("nll_difference", "token_agreement"))
    interval = f"({added['low']:+.4f} to {added['high']:+.4f})"
    return f"{added['value']:+.4f} {interval}", f"{alike['value']:.1%}".replace("%", " %")


def _costs(config: Mapping[str, Any], row: Row | None) -> tuple[str, ...]:
    encode, token = encode_cost(config, row), token_cost(config, row)
    return (*_told(encode, 1e12), *_told(token, 1e9))


def _told(cost: Cost, unit: float) -> tuple[str, str]:
    return f"{cost.read / 1e6:.1f}", f"{cost.bit_operations / unit:.2f}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write(told: str) -> None:
    """Put the table into the page, between its marks."""
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", "utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    every = list(rows())
    wanted = parser("bench.quantize", __doc__, recipes=len(every), clips=64)
    wanted.add_argument("--model", default="openai/whisper-base", help="default: %(default)s")
    wanted.add_argument("--cache", type=Path, help="folder of the figures (default: the service's)")
    wanted.add_argument("--show", action="store_true", help="measure nothing")
    wanted.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    asked = wanted.parse_args(argv)
    cache = {"cache_dir": asked.cache} if asked.cache else {}
    chosen = list(islice(every, asked.recipes))
    bench = Bench(Settings(model=asked.model, **cache), asked.clips, chosen)
    if not asked.show:
        bench.measure()
    told = bench.table()
    print(told)
    if asked.write:
        write(told)


if __name__ == "__main__":
    main()
