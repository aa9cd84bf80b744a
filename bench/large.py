"""whisper-large-v2's shape through quantizer and server, on random weights: sizes, memory, seconds.

    python -m bench.large [--rtn] [--gptq]      both where neither is named

Random weights cost what real ones cost in bytes, multiplications and layers; what they write is
noise. The tokenizer is the demo's: ids beyond it exist in the weights' shape alone.
"""

import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from app.checkpoints.weights import weight_bytes
from app.quantization.quantizer_process import Progress, Quantizer
from app.quantization.settings_recipe import recipe_for
from app.serving.lifecycle import Stage
from app.settings import Settings
from app.sources.resolve import resolve
from bench.memory import Peak, peak_memory
from bench.options import parser
from bench.random_checkpoint import LARGE_V2, make
from harness.server import DEMO, Server

CLIPS = 4  # calibration clips of the full run
MORE_CLIPS = 20  # of the short run that a clip's cost is derived from
SHORT_LAYERS = 3  # of each kind in the short runs; a kind's first is not counted
WANTED_CLIPS = 256  # what is extrapolated to: the service's default
PATIENCE = 3600  # seconds for the answer
GB = 1e9

console = Console(highlight=False)
Rows = list[tuple[str, str]]


def main(argv: Sequence[str] | None = None) -> None:
    parsing = parser("bench.large", __doc__, layers=LARGE_V2["encoder_layers"])
    parsing.add_argument("--rtn", action="store_true", help="round, serve and transcribe")
    parsing.add_argument("--gptq", action="store_true", help=f"GPTQ on {CLIPS} clips")
    wanted = parsing.parse_args(argv)
    both = not (wanted.rtn or wanted.gptq)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that gigabytes are not left behind
    table = Table("figure", "value", title="whisper-large-v2's shape, random weights, CPU")
    with tempfile.TemporaryDirectory(prefix="marlinscribe-large-") as temporary:
        work = Path(temporary)
        console.log("making the checkpoint")
        source, parameters = make(
            work / "large", encoder_layers=wanted.layers, decoder_layers=wanted.layers
        )
        size = f"{parameters / 1e6:.1f} M, {weight_bytes(source) / GB:.3f} GB"
        _section(table, [("parameters, fp16 source", size)])
        if wanted.rtn or both:
            _section(table, rtn(source, work / "cache"))
            shutil.rmtree(work / "cache")
        if wanted.gptq or both:
            _section(table, gptq(source, work))
    console.print(table)


def _section(table: Table, rows: Rows) -> None:
    for row in rows:
        console.log(*row, sep=": ")
        table.add_row(*row)
    table.add_section()


def rtn(source: Path, cache: Path) -> Rows:
    """Round it, serve it, and have it write down one recording."""
    server = Server(model=source, quantization="rtn", cache_dir=cache, device="cpu")
    try:
        with peak_memory(server.process.pid) as making:
            made = _seconds_to(server, Stage.LOADING)
        with peak_memory(server.process.pid) as serving:
            loaded = _seconds_to(server, Stage.WARMING)
            ready = _seconds_to(server, Stage.READY)
            console.log(f"ready after {ready:.0f} s")
            answered, answer = _transcribed(server)
        described = httpx.get(f"{server.url}/v1/models").json()["data"][0]["marlinscribe"]
    finally:
        with suppress(subprocess.TimeoutExpired):
            server.stop()
        server.kill()  # where it has not ended
    tokens = sum(len(segment["tokens"]) for segment in answer["segments"])
    return [
        ("RTN: bytes before, after", _sizes(source, described["weight_bytes"])),
        ("RTN: scheme, kernels", f"{described['scheme']}, {described['kernels']}"),
        ("RTN: checkpoint made (imports, hashes, write)", f"{made:.0f} s"),
        ("RTN: loaded; ready, after writing of a second's noise", f"{loaded:.0f} s; {ready:.0f} s"),
        (f"RTN: 200 answer ({answer['duration']:.1f} s, {tokens} tokens)", f"{answered:.1f} s"),
        ("RTN: peak RSS of the process tree, making", str(making)),
        ("RTN: peak RSS of the process tree, loading and serving", str(serving)),
    ]


def _seconds_to(server: Server, stage: Stage) -> float:
    """Seconds from the process's start to `stage`. Asks seldom, so as not to slow it."""
    order = list(Stage)
    while True:
        health = server.health()
        failed = health.get("status") == Stage.FAILED or server.process.poll() is not None
        assert not failed, f"{health}\n{server.read_log()[-4000:]}"
        if health and order.index(health["status"]) >= order.index(stage):
            return time.monotonic() - server.started
        time.sleep(1)


def _transcribed(server: Server) -> tuple[float, dict[str, Any]]:
    """Seconds to the whole answer, and the answer."""
    recording = DEMO / "recordings" / "radio.mp3"
    started = time.monotonic()
    with recording.open("rb") as file:
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"response_format": "verbose_json"},
            files={"file": (recording.name, file)},
            timeout=PATIENCE,
        )
    assert answer.status_code == httpx.codes.OK, f"{answer.text}\n{server.read_log()[-4000:]}"
    return time.monotonic() - started, answer.json()


def _sizes(source: Path, after: int) -> str:
    return f"{weight_bytes(source):,} B, {after:,} B ({after / GB:.3f} GB)"


@dataclass(frozen=True)
class Gptq:
    """One GPTQ run. Seconds: all of it; preparing the clips, with the first layer; and each further
    layer in order."""

    seconds: float
    preparing: float
    layers: list[float]
    figures: dict[str, Any]
    peak: Peak
    bytes: int

    def encoders(self) -> list[float]:
        """An encoder layer's seconds, for each but the first: a layer's time holds the propagation
        through the one before it, and the first has none of its kind. So with decoders."""
        return self.layers[: self.depth - 1]

    def decoders(self) -> list[float]:
        return self.layers[self.depth :]

    @property
    def depth(self) -> int:
        """Of each stack."""
        return (len(self.layers) + 1) // 2


def run_gptq(source: Path, out: Path, clips: int) -> Gptq:
    """The quantizer's child, with the recipe the service would give it."""
    out.mkdir()
    calibration = str(DEMO / "recordings" / "calibration")
    settings = Settings(calibration=calibration, calibration_samples=clips)
    marks: list[float] = []

    def on_layer(layer: Progress) -> None:
        marks.append(time.monotonic())
        took = f"{marks[-1] - marks[-2]:.1f} s" if layer.done else ""
        console.log(f"{source.name}, {clips} clips: layer {layer.done} of {layer.total} {took}")

    started = time.monotonic()
    quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)
    recipe = recipe_for(settings, resolve(str(source), settings.cache_dir), "cpu")
    with peak_memory(os.getpid(), itself=False) as peak:
        figures = quantizer.make(source, out, recipe, on_layer)
    seconds = time.monotonic() - started
    # The marks: begun, then each layer done.
    preparing, *layers = [b - a for a, b in itertools.pairwise(marks)]
    size = weight_bytes(out)
    shutil.rmtree(out)
    return Gptq(seconds, preparing, layers, figures, peak, size)


def gptq(source: Path, work: Path) -> Rows:
    """GPTQ on CLIPS clips, and what WANTED_CLIPS would cost."""
    full = run_gptq(source, work / "out", CLIPS)
    failed = len(full.figures["rounded_to_nearest"])
    rows = [
        (f"GPTQ, {CLIPS} clips: bytes before, after", _sizes(source, full.bytes)),
        ("GPTQ: the child's own peak RSS", f"{full.figures['peak_rss_bytes'] / GB:.2f} GB"),
        ("GPTQ: the child's peak, watched", str(full.peak)),
        ("GPTQ: preparing clips, tracing, first layer", f"{full.preparing:.1f} s"),
        ("GPTQ: encoder layer", _spread(full.encoders())),
        ("GPTQ: decoder layer", _spread(full.decoders())),
        ("GPTQ: total; without imports", f"{full.seconds:.0f} s; {full.figures['seconds']:.0f} s"),
        ("GPTQ: modules whose Hessian failed, rounded", str(failed)),
    ]
    if on_card := full.figures["peak_device_bytes"]:
        rows.append(("GPTQ: the child's peak on the card", f"{on_card / GB:.2f} GB"))
    _section(Table(), rows)  # told already: the short runs take minutes more
    return rows + _extrapolated(full, *_short_runs(work))


def _short_runs(work: Path) -> tuple[Gptq, Gptq]:
    """The same shape but SHORT_LAYERS deep, on CLIPS and on MORE_CLIPS, one after the other."""
    console.log("making the short one")
    source, _ = make(work / "short", encoder_layers=SHORT_LAYERS, decoder_layers=SHORT_LAYERS)
    few, more = (run_gptq(source, work / "out", clips) for clips in (CLIPS, MORE_CLIPS))
    return few, more


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.1f} s, fastest {min(seconds):.1f} s"


def _extrapolated(full: Gptq, few: Gptq, more: Gptq) -> Rows:
    """A clip's cost is the difference of the short runs, where solving for the weights drops out.

    Fastest layers are taken everywhere: they were disturbed least by whatever ran beside.
    """

    def a_clip(few: float, more: float) -> float:
        return (more - few) / (MORE_CLIPS - CLIPS)

    encoder = a_clip(min(few.encoders()), min(more.encoders()))
    decoder = a_clip(min(few.decoders()), min(more.decoders()))
    preparing, held = a_clip(few.preparing, more.preparing), a_clip(few.peak.held, more.peak.held)
    depth, added = full.depth, WANTED_CLIPS - CLIPS
    undisturbed = full.seconds - sum(full.layers)
    undisturbed += (depth - 1) * min(full.encoders()) + depth * min(full.decoders())
    total = undisturbed + added * ((depth - 1) * encoder + depth * decoder + preparing)
    peak = full.peak.held + added * held
    how = (
        f"{SHORT_LAYERS}+{SHORT_LAYERS} layers as wide as these, at {CLIPS} and {MORE_CLIPS} "
        "clips: the difference is what a clip costs (forward twice, Hessians), without the solve; "
        f"x {added} clips x {depth}+{depth} layers, on top of the full run's at {CLIPS} clips. "
        "Fastest layers throughout: an otherwise idle machine"
    )
    return [
        ("a clip more: encoder, decoder layer", f"{encoder:.2f} s, {decoder:.2f} s"),
        (
            "a clip more: preparing and first layer; memory",
            f"{preparing:.2f} s; {held / 1e6:.1f} MB",
        ),
        (f"undisturbed total, {CLIPS} clips", f"{undisturbed:.0f} s"),
        (f"EXTRAPOLATED total, {WANTED_CLIPS} clips", f"{total:.0f} s ({total / 3600:.1f} h)"),
        (f"EXTRAPOLATED peak without file pages, {WANTED_CLIPS} clips", f"{peak / GB:.2f} GB"),
        ("derived from", how),
    ]


if __name__ == "__main__":
    main()
