"""Making of a checkpoint, in the quantizer's process (see child.py and child_protocol.py).

The process runs on its own overlay of packages, because llm-compressor and vLLM pin different ones.
"""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from app.checkpoints.fused_groups import layer_schemes
from app.checkpoints.recipe import Recipe
from app.checkpoints.schemes import unfit
from app.errors import BadRecipe, NoCalibration
from app.quantizer import child_protocol, eight_bit_embedding, emulation, methods
from app.quantizer.child_protocol import Reporter
from app.quantizer.features import labelled
from app.quantizer.packing import packed
from app.recordings.clip import Clip
from app.recordings.read import read

# Written anew with the weights; everything else of the source is carried over as it is.
_REMADE = {"config.json", "model.safetensors.index.json"}


class Job(BaseModel):
    """A checkpoint that is asked for. `folder` is where the source lies; `out` exists and is
    empty."""

    folder: Path
    out: Path
    recipe: Recipe


def quantize(job: Job, report: Reporter) -> dict[str, Any]:
    """Make the checkpoint in `job.out`; return the figures for its manifest. Raises
    StartupErrors."""
    started = time.monotonic()
    recipe = job.recipe
    config = json.loads((job.folder / "config.json").read_text("utf-8"))
    if why := unfit(recipe, config):
        raise BadRecipe(f"It cannot be {recipe.label}: {why}.", "Choose another recipe.")
    dtype = getattr(torch, recipe.dtype)
    model = WhisperForConditionalGeneration.from_pretrained(job.folder, dtype=dtype)
    model.eval().to(_computing(dtype))
    report.progress(0, model.config.encoder_layers + model.config.decoder_layers)
    processor = WhisperProcessor.from_pretrained(job.folder)
    clips = _calibration(recipe)
    heard = labelled(job.folder, packed(clips), model.dtype)
    inputs = [one.inputs for one in heard]
    outcome = methods.apply(model, recipe, inputs, processor, report)
    _add_key_biases(model)
    _save(model.to(dtype), job)
    if outcome.embedding:
        eight_bit_embedding.write(job.out, outcome.embedding)
    return {
        "seconds": round(time.monotonic() - started, 1),
        **child_protocol.peaks(),
        "quantized": outcome.quantized,
        "schemes": {group: str(one) for group, one in layer_schemes(recipe, config).items()},
        "losses": outcome.losses,
        "rounded_to_nearest": outcome.rounded,
        "calibration": _described(clips, len(heard)) if clips else None,
    }


def _computing(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: on a processor float32, whatever is written in the end.

    oneDNN multiplies 16-bit numbers hundreds of times slower where a processor has no instruction
    for them, and rounding in bfloat16 takes the wrong neighbour now and then.
    """
    return dtype if torch.cuda.is_available() else torch.float32


def _described(clips: list[Clip], windows: int) -> dict[str, Any]:
    """Describe what was calibrated on, for the record."""
    return {
        "recordings": len(clips),
        "windows": windows,
        "languages": dict(Counter(one.language for one in clips)),
        "texts": [{"language": one.language, "text": one.text} for one in clips],
    }


def _calibration(recipe: Recipe) -> list[Clip]:
    """Return what the method calibrates on. Raises NoCalibration."""
    if recipe.method == "rtn":
        return []
    if recipe.calibration is None:
        raise NoCalibration(
            f"{recipe.method} needs recordings to calibrate on.",
            "Name some, or choose rtn, which needs none.",
        )
    return read(recipe.calibration)


def _add_key_biases(model: Any) -> None:
    """Add biases of zero to Whisper's keys, which have none: vLLM fuses keys with queries and
    values, which have biases, and some releases leave the missing ones uninitialised."""
    for name, module in model.named_modules():
        if name.endswith("k_proj") and module.bias is None:
            zeros = torch.zeros(module.out_features, dtype=model.dtype)
            module.bias = torch.nn.Parameter(zeros, requires_grad=False)


def _save(model: Any, job: Job) -> None:
    """Write the checkpoint with the source's generation config, tokenizer and processor files:
    transformers writes a generation config of its own, without language ids, suppress lists and
    alignment heads."""
    if job.recipe.emulate:
        emulation.dequantize(model)
    model.save_pretrained(job.out)
    # llm-compressor's account of it, in classes that are ours alone.
    (job.out / "recipe.yaml").unlink(missing_ok=True)
    for path in job.folder.iterdir():
        if path.suffix in (".json", ".txt") and path.name not in _REMADE and path.is_file():
            shutil.copyfile(path, job.out / path.name)


def main(events: int) -> int:
    """Do the job on standard input and report to the descriptor `events`; return the exit
    status."""
    return child_protocol.run(events, lambda job, to: quantize(Job.model_validate_json(job), to))
