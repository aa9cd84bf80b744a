"""Makes quantized Whispers in memory, each by one method, and measures what they lose.

    python -m bench.method_losses < job.json

A part of bench.quantize, in a process of its own with the quantizer's packages. Each row's figures
go to a file as they are known; rows that have one are not measured again. Weights are dequantized,
activations of eight bits rounded token by token, and everything computes in float32.
"""

import argparse
import gc
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.files import write_json
from app.recordings.read import read
from app.recordings.spec import Recordings
from bench.method_rows import Making, Row

AUTOROUND_STEPS = 20  # for each layer, of the paper's 200, which take hours on a processor
# These hear every fourth window alone: AWQ tries twenty scalings of each norm, AutoRound as many
# steps, and each time on every window.
SPARING = {"awq": 4, "autoround": 4}
# SmoothQuant moves strength from a norm's outputs to what reads them.
_SMOOTHED = {
    "self_attn_layer_norm": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "encoder_attn_layer_norm": ["encoder_attn.q_proj"],
    "final_layer_norm": ["fc1"],
}


class Job(BaseModel):
    """folder: of the source. done: the folder of figures."""

    folder: Path
    calibration: Recordings
    judge: Recordings
    rows: list[Row]
    done: Path


class Losses:
    """Measures rows of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._maker = Maker(job.folder, self._windows(job.calibration))
        self._judge = self._windows(job.judge)

    def _windows(self, wanted: Recordings) -> list[Any]:
        import torch

        from app.quantizer.features import labelled
        from app.quantizer.packing import packed

        return labelled(self._job.folder, packed(read(wanted)), torch.float32)

    def run(self) -> None:
        """Do all rows that are not done, those together that are made once."""
        several = [row for row in self._job.rows if not self._path(row.name).exists()]
        by_making: Any = groupby(sorted(several, key=self._first), lambda row: row.making)
        for making, rows in by_making:
            model, told = self._maker.make(making)
            self._measure(model, rows, told)
            del model
            gc.collect()

    def _measure(self, model: Any, rows: Iterable[Row], told: dict[str, Any]) -> None:
        for row in rows:
            with rounded_activations(model, row.activations):
                figures = self._figures(self._source, self._scores(model))
            write_json(self._path(row.name), figures | told)
            print(row.name, figures["overall"]["nll_difference"]["value"], flush=True)

    def _first(self, row: Row) -> int:
        """Return the place of a row's making in the order that was asked for."""
        return [one.making for one in self._job.rows].index(row.making)

    def _path(self, name: str) -> Path:
        return self._job.done / f"{name}.json"

    @cached_property
    def _source(self) -> list[Any]:
        """The source's scores, from their file if they are known."""
        import numpy as np

        from app.quantizer.comparison import Scores

        path = self._path("source")
        if not path.exists():
            found = self._scores(loaded(self._job.folder))
            kept = [(one.likeliest.tolist(), one.likelihoods.tolist()) for one in found]
            write_json(path, kept)
        return [
            Scores(np.array(likeliest), np.array(likelihoods))
            for likeliest, likelihoods in json.loads(path.read_text("utf-8"))
        ]

    def _scores(self, model: Any) -> list[Any]:
        from app.quantizer.comparison import clip_scores

        return [clip_scores(model, window) for window in self._judge]

    def _figures(self, source: Any, candidate: Sequence[Any]) -> dict[str, Any]:
        from app.quantizer.comparison import token_figures

        return token_figures([window.language for window in self._judge], source, candidate)


def loaded(folder: Path) -> Any:
    import torch
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


class Maker:
    """Makes models by methods that learn from the same windows."""

    def __init__(self, folder: Path, windows: Sequence[Any]) -> None:
        self._folder, self._windows = folder, [one.inputs for one in windows]

    def make(self, making: Making) -> tuple[Any, dict[str, Any]]:
        """Return a model with the weights that a method leaves, and what is to be known of it."""
        model = loaded(self._folder)
        if making.method == "hqq":
            _round_half_quadratically(model, making)
            return model, {}
        if making.method == "smoothquant":
            model.load_state_dict(self._smooth_weights)
        return model, self._apply(model, making)

    def _apply(self, model: Any, making: Making) -> dict[str, Any]:
        from app.quantizer import emulation, methods
        from app.quantizer.child_protocol import Reporter

        heard = self._windows[:: SPARING.get(making.method, 1)]
        outcome = methods.apply(
            model,
            making.recipe(),
            heard,
            self._processor(),
            Reporter(io.StringIO()),
            propagate=making.method != "gptq-apart",
            steps=AUTOROUND_STEPS,
        )
        emulation.dequantize(model)
        model.float()  # AutoRound leaves layers in bfloat16
        return {"rounded_to_nearest": outcome.rounded, "calibration_windows": len(heard)}

    @cached_property
    def _smooth_weights(self) -> dict[str, Any]:
        """The weights after llm-compressor's SmoothQuant, which is the same for all bits."""
        from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

        from app.quantizer import methods
        from app.quantizer.features import batch
        from app.quantizer.traceable import traceable

        model = loaded(self._folder)
        smooth = SmoothQuantModifier(mappings=mappings())
        with traceable(model, batch(self._windows[:1])):
            methods.calibrate(model, [smooth], self._windows, self._processor())
        return model.state_dict()

    def _processor(self) -> Any:
        from transformers import WhisperProcessor

        return WhisperProcessor.from_pretrained(self._folder)


def _round_half_quadratically(model: Any, making: Making) -> None:
    from app.quantizer.rounding import grouped
    from bench.hqq import half_quadratic

    size = None if making.group_size == "channel" else making.group_size
    for linears in grouped(model).values():
        for linear in linears:
            linear.weight.data = half_quadratic(linear.weight.data, making.bits, size)


def mappings() -> list[tuple[list[str], str]]:
    """Return what reads each norm of a layer, and the norm, as patterns of names."""
    return [
        ([_named(stack, one) for one in readers], _named(stack, norm))
        for stack in ("encoder", "decoder")
        for norm, readers in _SMOOTHED.items()
        if stack == "decoder" or not norm.startswith("encoder_attn")
    ]


def _named(stack: str, module: str) -> str:
    dotted = module.replace(".", r"\.")
    return rf"re:.*\.{stack}\.layers\.\d+\.{dotted}$"


@contextmanager
def rounded_activations(model: Any, bits: int) -> Iterator[None]:
    """Round the inputs of all layers' Linears for as long as the context lasts."""
    from app.quantizer.rounding import grouped, rounded_inputs

    several = [] if bits == 16 else [one for group in grouped(model).values() for one in group]
    hooks = [
        linear.register_forward_pre_hook(lambda _, args: (rounded_inputs(args[0]), *args[1:]))
        for linear in several
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(
        prog="python -m bench.method_losses",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    Losses(Job.model_validate_json(sys.stdin.read())).run()


if __name__ == "__main__":
    main()
