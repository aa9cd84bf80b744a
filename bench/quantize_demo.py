"""What recipes cost in accuracy, on the demo: a table of methods, groups, bits and calibrations.

    make bench-quantize-demo

Every candidate is made and proven as a job would, on the demo's test recordings; the source is
heard once. What nothing here serves is emulated. Prints the table, and `--write` puts it into
docs/quantization.md.
"""

import asyncio
import logging
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.jobs import Job, JobReporter
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.quantization.proof import Proof
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.settings import Settings
from bench.options import parser

LEARNED = str(DEMO / "recordings" / "calibration")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "quantization.md"
BEGIN, END = "<!-- bench-quantize-demo -->", "<!-- /bench-quantize-demo -->"

SAMPLES = 36  # as many as there are of Chinese, so that every mix can have them
MIXES: dict[str, dict[str, float]] = {
    "en": {"en": 1},
    "zh": {"zh": 1},
    "en + zh": {"en": 1, "zh": 1},
}
HEAD = (
    "| recipe | calibration | WER en | CER zh | recovery en | recovery zh "
    "| NLL + | agreement | MB | MB/token | make s |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def judged(clips: int) -> Recordings:
    """128 are all of the Chinese, and as much English."""
    sources = (str(DEMO / "recordings" / "test"),)
    return Recordings(sources=sources, samples=clips, mix={"en": 1, "zh": 1})


def recipes() -> Iterator[tuple[str, Recipe]]:
    """Each with the name of its calibration."""

    def recipe(mix: str = "en + zh", **fields: Any) -> tuple[str, Recipe]:
        if fields.get("method") == "rtn":
            return "", Recipe(**fields)
        heard = Recordings(sources=(LEARNED,), samples=SAMPLES, mix=MIXES[mix])
        return mix, Recipe(calibration=heard, **fields)

    for method in ("rtn", "gptq", "awq", "autoround"):
        yield recipe(method=method)
    yield recipe(observer="imatrix")
    yield recipe(act_order="none")
    for group_size in ("channel", 64, 32):
        for method in ("rtn", "gptq"):
            yield recipe(method=method, group_size=group_size)
    yield recipe(method="rtn", scheme="W8A8")
    yield recipe(method="gptq", scheme="W8A8")
    yield recipe(method="rtn", scheme="W8A16", emulate=True)
    for method in ("rtn", "gptq", "awq"):  # autoround takes as long as all the others together
        yield recipe(method=method, scheme="W3A16", emulate=True)
    yield recipe(observer="imatrix", scheme="W3A16", emulate=True)
    yield recipe(scheme="W2A16", emulate=True)
    for mix in ("en", "zh"):
        yield recipe(mix)
        yield recipe(mix, scheme="W3A16", emulate=True)
        yield recipe(mix, scheme="W2A16", emulate=True)


def row(name: str, calibration: str, proof: Proof) -> str:
    en, zh = proof.languages["en"], proof.languages["zh"]
    overall = proof.comparison["overall"]
    making = proof.run["making"]
    size = "" if proof.emulated else f"{proof.weight_bytes['candidate'] / 1e6:.2f}"
    read = "" if proof.emulated else f"{proof.weight_bytes_per_token['candidate'] / 1e6:.2f}"
    cells = [
        name,
        calibration,
        f"{en.candidate['wer'].value:.1%}",
        f"{zh.candidate['cer'].value:.1%}",
        *(
            f"{one.recovery.value:.0%} ({one.recovery.low:.0%} to {one.recovery.high:.0%})"
            for one in (en, zh)
        ),
        f"{overall['nll_difference']['value']:+.4f}",
        f"{overall['token_agreement']['value']:.1%}",
        size,
        read,
        f"{making['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells).replace("%", " %") + " |"


def source_row(proof: Proof) -> str:
    en, zh = proof.languages["en"], proof.languages["zh"]
    cells = [
        "bf16, the source", "", f"{en.source['wer'].value:.1%}", f"{zh.source['cer'].value:.1%}",
        "", "", "", "", f"{proof.weight_bytes['source'] / 1e6:.2f}",
        f"{proof.weight_bytes_per_token['source'] / 1e6:.2f}", "",
    ]  # fmt: skip
    return "| " + " | ".join(cells).replace("%", " %") + " |"


def label(recipe: Recipe) -> str:
    """Short."""
    more = " no act-order" if recipe.act_order == "none" else ""
    return recipe.label.replace(" emulated", "*") + more


async def measure(settings: Settings, clips: int, many: int) -> list[str]:
    loader = Loader(settings, pick_device(settings.device))
    rows: list[str] = []
    for calibration, recipe in islice(recipes(), many):
        order = QuantizationRequest(model=settings.model, recipe=recipe, proof=judged(clips))
        _, proof = await run_job(order, loader, JobReporter(Job("", {}, ""), lambda *_: None))
        assert proof is not None
        rows = rows or [source_row(proof)]
        rows.append(row(label(recipe), calibration, proof))
        print(rows[-1], flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    every = len(list(recipes()))
    wanted = parser("bench.quantize_demo", __doc__, clips=128, recipes=every)
    wanted.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    wanted.add_argument("--cache", type=Path, help="keep what is made and heard here")
    arguments = wanted.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="demo", cache_dir=arguments.cache or Path(folder))
        device = pick_device(settings.device)
        forkserver.start(device, forkserver.environment(device, "warning"))
        table = "\n".join(
            [HEAD, *asyncio.run(measure(settings, arguments.clips, arguments.recipes))]
        )
    print(table)
    if arguments.write:
        page = PAGE.read_text("utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
