"""The quantizer's process: llm-compressor, one job, told in JSON lines (see child.py).

Events go to a descriptor of their own (libraries print to standard output), one object a line:
    {"event": "progress", "done", "total", "eta_seconds", "loss"}   in layers
    {"event": "done", "figures": {…}}
    {"event": "error", "kind", "message"}     kind: a key of quantizing.py's table

It runs on its own overlay of packages, because llm-compressor and vLLM cannot share one.
"""

import errno
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from pydantic import BaseModel, PrivateAttr
from torch.utils.data import DataLoader
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from app.checkpoints.recipe import Recipe
from app.checkpoints.samples import batch, samples
from app.checkpoints.traceable import traceable
from app.errors import NoCalibration

_LAYERS = ["WhisperEncoderLayer", "WhisperDecoderLayer"]
# Written anew with the weights; everything else of the source is carried over as it is.
_REMADE = {"config.json", "model.safetensors.index.json"}


class Job(BaseModel):
    """What is asked for. `folder` is where the source lies; `out` exists and is empty."""

    folder: Path
    out: Path
    recipe: Recipe


class Reporter:
    """Writes events. Layers are the unit of progress: GPTQ's time goes there."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._started = time.monotonic()

    def __call__(self, event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), file=self._stream, flush=True)

    def layer(self, done: int, total: int) -> None:
        elapsed = time.monotonic() - self._started
        eta = elapsed / done * (total - done) if done else None
        self("progress", done=done, total=total, eta_seconds=eta)


class ReportingGPTQ(GPTQModifier):
    """GPTQ that reports each subgraph and keeps the names it quantized and gave up on."""

    _report: Any = PrivateAttr(default=None)
    _total: int = PrivateAttr(default=0)
    _subgraphs: int = PrivateAttr(default=0)
    _quantized: set[str] = PrivateAttr(default_factory=set)
    _fell_back: list[str] = PrivateAttr(default_factory=list)

    def reporting_to(self, report: Reporter, layers: int) -> "ReportingGPTQ":
        self._report, self._total = report, layers
        return self

    def compress_module_list(self, module_list: Any) -> None:
        self._quantized.update(self._module_names[module] for module in module_list)
        super().compress_module_list(module_list)

    def on_sequential_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_sequential_epoch_end(*args, **kwargs)
        # The first subgraph is what precedes the first layer.
        self._report.layer(self._subgraphs, self._total)
        self._subgraphs += 1

    def on_finalize(self, *args: Any, **kwargs: Any) -> bool:
        self._fell_back = list(self._rtn_fallback_module_names)  # super() clears it
        return bool(super().on_finalize(*args, **kwargs))


def quantize(job: Job, report: Reporter) -> dict[str, Any]:
    """Make the checkpoint in `job.out`; the figures for its manifest."""
    started = time.monotonic()
    recipe = job.recipe
    model = WhisperForConditionalGeneration.from_pretrained(
        job.folder, dtype=getattr(torch, recipe.dtype)
    )
    model.eval()
    fell_back: list[str] = []
    if recipe.method == "gptq":
        fell_back = _gptq(model, job, report)
    else:
        _rtn(model, recipe)
    _add_key_biases(model)
    model.save_pretrained(job.out, save_compressed=True)
    _carry_over(job.folder, job.out)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rounded_to_nearest": fell_back,
    }


def _gptq(model: Any, job: Job, report: Reporter) -> list[str]:
    """Layer by layer, each calibrated on what the quantized layers before it give.

    Returns the names of modules whose Hessian could not be inverted and which were rounded.
    """
    recipe = job.recipe
    layers = model.config.encoder_layers + model.config.decoder_layers
    report.layer(0, layers)
    assert recipe.calibration is not None, "gptq without calibration"
    heard = samples(job.folder, recipe.calibration, model.dtype)
    modifier = ReportingGPTQ(
        config_groups={"group_0": {"targets": ["Linear"], "weights": _weights(recipe)}},
        ignore=["proj_out", "lm_head"],
        dampening_frac=recipe.dampening,
        actorder=None if recipe.act_order == "none" else recipe.act_order,
    ).reporting_to(report, layers)
    with traceable(model, batch(heard[:1])):
        oneshot(
            model=model,
            processor=WhisperProcessor.from_pretrained(job.folder),
            dataset=DataLoader(heard, batch_size=1, collate_fn=batch),
            recipe=modifier,
            pipeline="sequential",
            sequential_targets=_LAYERS,
            num_calibration_samples=len(heard),
        )
    # A tracer that swallowed layers would calibrate them on unquantized inputs, or not at all.
    assert modifier._subgraphs == layers + 1, f"{modifier._subgraphs} subgraphs for {layers} layers"
    missed = set(_linears(model, recipe)) - modifier._quantized
    assert not missed, f"never calibrated: {sorted(missed)[:5]}"
    return modifier._fell_back


def _rtn(model: Any, recipe: Recipe) -> None:
    modifier = QuantizationModifier(
        config_groups={"group_0": {"targets": ["Linear"], "weights": _weights(recipe)}},
        ignore=["proj_out", "lm_head"],
    )
    oneshot(model=model, recipe=modifier, pipeline="datafree")


def _weights(recipe: Recipe) -> dict[str, Any]:
    return {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": recipe.group_size,
    }


def _linears(model: Any, recipe: Recipe) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "proj_out":
            yield name


def _add_key_biases(model: Any) -> None:
    """Whisper's keys have no bias, but vLLM fuses them with queries and values, which have, and
    some releases leave the missing ones uninitialised: write the zeros down."""
    for name, module in model.named_modules():
        if name.endswith("k_proj") and module.bias is None:
            zeros = torch.zeros(module.out_features, dtype=model.dtype)
            module.bias = torch.nn.Parameter(zeros, requires_grad=False)


def _carry_over(source: Path, out: Path) -> None:
    """The source's generation config, tokenizer and processor files. `save_pretrained` writes a
    generation config of its own, without language ids, suppress lists and alignment heads."""
    for path in source.iterdir():
        if path.suffix in (".json", ".txt") and path.name not in _REMADE:
            shutil.copyfile(path, out / path.name)


def _kind(error: BaseException) -> str:
    text = f"{error}".lower()
    if isinstance(error, NoCalibration):
        return "no_calibration"
    if getattr(error, "errno", None) == errno.ENOSPC or "no space left" in text:
        return "disk_full"
    memory = (
        "out of memory",
        "can't allocate memory",
        "cannot allocate memory",
        "bad_alloc",
        "could not create a primitive",  # oneDNN, when it cannot allocate
    )
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(m in text for m in memory):
        return "out_of_memory"
    return "failed"


def main(events: int) -> int:
    """Do the job on standard input, reporting to the descriptor `events`; the exit status."""
    report = Reporter(os.fdopen(events, "w"))
    try:
        figures = quantize(Job.model_validate_json(sys.stdin.read()), report)
    except Exception as error:
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        report("error", kind=_kind(error), message=message, advice=getattr(error, "advice", ""))
        if _kind(error) == "failed":
            raise
        return 1
    report("done", figures=figures)
    return 0
