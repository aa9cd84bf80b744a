"""Comparison of a candidate checkpoint with its source, token by token and layer by layer.

Both write the recordings' own words, token by token (teacher forcing), after the prompts that
serving uses. Unlike error rates, this shows what a model nearly got wrong, and takes no decoding.
Only one of the two is in memory at a time, and both run in the candidate's dtype, so that nothing
but quantization differs.
"""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from transformers import WhisperConfig, WhisperForConditionalGeneration

from app.models.whisper_vllm.embedding_format import ENTRY, SCALE, SMOOTHING
from app.process import has_half_precision
from app.quantizer import eight_bit_embedding
from app.quantizer.child_protocol import Reporter, peaks, run
from app.quantizer.features import LabelledExample, batch, spoken
from app.quantizer.layer_errors import Errors, Stream, captured
from app.recordings.error_rates import mean
from app.recordings.read import by_turns
from app.recordings.spec import Recordings

_LAYERS_CLIPS = 8  # whose layers are compared: the source's streams of these stay in memory


class Job(BaseModel):
    """A comparison that is asked for: two checkpoints' folders, and the recordings to write."""

    source: Path
    candidate: Path
    recordings: Recordings


@dataclass(frozen=True)
class Scores:
    """One model's scores of a clip's tokens, shapes (tokens,): the likeliest token by the logits,
    and the log likelihood, in nats, of the token that was to be written."""

    likeliest: NDArray[np.int64]
    likelihoods: NDArray[np.float64]


def compare(job: Job, report: Reporter) -> dict[str, Any]:
    """Compare the two checkpoints of a job; return the figures."""
    started = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = _dtype(job.candidate, device)
    clips = spoken(job.source, job.recordings, dtype)
    report.progress(0, 2 * len(clips))  # each is met twice
    watched = by_turns([clip.language for clip in clips], _LAYERS_CLIPS)
    streams: dict[int, Stream] = {number: [] for number in watched}
    source: list[Scores] = []
    for scores in _source(_load(job.source, dtype, device), clips, streams):
        source.append(scores)
        report.progress(len(source), 2 * len(clips))
    gc.collect()  # the source, before the candidate comes
    errors, alone = Errors(), Errors()
    candidate: list[Scores] = []
    model = _load(job.candidate, dtype, device)
    for scores in _candidate(model, clips, streams, errors, alone):
        candidate.append(scores)
        report.progress(len(clips) + len(candidate), 2 * len(clips))
    own = alone.relative()
    return {
        **token_figures([clip.language for clip in clips], source, candidate),
        "layers": [
            {"name": name, "relative_error": error, "own_relative_error": own[name]}
            for name, error in errors.relative().items()
        ],
        "layers_clips": len(streams),
        "seconds": round(time.monotonic() - started, 1),
        **peaks(),
    }


def _dtype(candidate: Path, device: str) -> torch.dtype:
    """Return the dtype to compute in: the candidate's. CPUs multiply half precision many times
    slower than float32, which holds the very same numbers."""
    dtype: torch.dtype = WhisperConfig.from_pretrained(candidate).dtype or torch.float32
    slow = dtype == torch.float16 or not has_half_precision()
    return torch.float32 if device == "cpu" and slow else dtype


def _load(folder: Path, dtype: torch.dtype, device: str) -> Any:
    """Load a checkpoint as a model that computes what the checkpoint means: weights are dequantized
    at its first pass, and activations that its scheme quantizes are quantized in every pass
    (compressed-tensors' forward).

    Raises ValueError where the files and the model do not fit: what is missing would be random.
    """
    model, found = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, output_loading_info=True
    )
    # vLLM needs them, Whisper has none, and they change nothing: softmax is blind to what is the
    # same for every key.
    in_eight_bits = hasattr(model.config, ENTRY)
    known = {SCALE, SMOOTHING} if in_eight_bits else set()
    unexpected = {*found["unexpected_keys"]} - known
    unknown = {name for name in unexpected if not name.endswith("k_proj.bias")}
    wrong = {*found["missing_keys"], *unknown, *(name for name, *_ in found["mismatched_keys"])}
    if wrong:
        raise ValueError(f"{folder} does not fit the model: {', '.join(sorted(wrong)[:5])}")
    model.eval().to(device)
    if in_eight_bits:
        eight_bit_embedding.understand(model, folder)
    return model


def _source(
    model: Any, clips: Sequence[LabelledExample], streams: Mapping[int, Stream]
) -> Iterator[Scores]:
    """Yield each clip's scores under the source. `streams` collect the layers' outputs for the
    clips that they are keyed by."""
    for number, clip in enumerate(clips):
        stream = streams.get(number)
        with nullcontext() if stream is None else captured(model, stream):
            scores = clip_scores(model, clip)
        yield scores


def _candidate(
    model: Any,
    clips: Sequence[LabelledExample],
    streams: Mapping[int, Stream],
    errors: Errors,
    alone: Errors,
) -> Iterator[Scores]:
    """Yield each clip's scores under the candidate. `errors` collect layers' errors in the whole
    model, `alone` each layer's own."""
    for number, clip in enumerate(clips):
        stream = streams.get(number)
        if stream is None:
            yield clip_scores(model, clip)
            continue
        with errors.measured(model, stream, corrected=False):
            scores = clip_scores(model, clip)
        with alone.measured(model, stream, corrected=True):
            clip_scores(model, clip)
        yield scores


def clip_scores(model: Any, clip: LabelledExample) -> Scores:
    """Return a model's scores of a clip's tokens. Raises ValueError where they are not finite."""
    inputs = {name: tensor.to(model.device) for name, tensor in batch([clip.inputs]).items()}
    written = clip.written.to(model.device)
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits[0, -len(written) :].float()
    likelihoods = logits.log_softmax(-1).gather(-1, written[:, None])[:, 0]
    if not likelihoods.isfinite().all():
        raise ValueError(f"{model.name_or_path} computes no finite likelihoods")
    return Scores(logits.argmax(-1).cpu().numpy(), likelihoods.double().cpu().numpy())


def token_figures(
    languages: Sequence[str], source: Sequence[Scores], candidate: Sequence[Scores]
) -> dict[str, Any]:
    """Return the figures of the tokens, by language and overall."""
    tokens = np.array([len(scores.likeliest) for scores in source])
    likelihoods = [
        np.array([scores.likelihoods.sum() for scores in scored]) for scored in (source, candidate)
    ]
    agreeing = np.array(
        [(s.likeliest == c.likeliest).sum() for s, c in zip(source, candidate, strict=True)]
    )

    def of(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        units = tokens[chosen]
        before, after = (-sums[chosen] for sums in likelihoods)
        return {
            "clips": len(units),
            "tokens": int(units.sum()),
            "source_nll": float(before.sum() / units.sum()),
            "candidate_nll": float(after.sum() / units.sum()),
            "nll_difference": asdict(mean(after - before, units)),
            "token_agreement": asdict(mean(agreeing[chosen], units)),
        }

    named = np.array(languages)
    overall = of(np.full(len(named), True))
    return {
        "clips": overall["clips"],
        "tokens": overall["tokens"],
        "overall": overall,
        "languages": {name: of(named == name) for name in dict.fromkeys(languages)},
    }


def main(events: int) -> int:
    """Do the job on standard input and report to the descriptor `events`; return the exit
    status."""
    return run(events, lambda job, report: compare(Job.model_validate_json(job), report))
