"""What each fused group loses under each scheme: scores that need no training, and the referee.

The referee is the divergence of the model's next-token distributions (KL, nats a token, under
teacher forcing) with that one group rounded. The scores ask for one pass, or one with gradients:

    weight_error     the squares of what rounding changes in the weights, summed
    second_moments   the same, each weighted with its input's mean square
    output_error     the squares of what changes in the group's output
    relative_output  the same, as a share of the output's squares
    fisher           ΔW² weighted with the loss's mean squared gradient (diagonal Fisher)
    gradient         |gradient · ΔW|, the mean over windows
    squared_gradient (gradient · ΔW)², the mean over windows

What is done lies in a file, so that a run that was ended goes on where it was.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from transformers import WhisperForConditionalGeneration

from app.files import write_json
from app.quantizer.assignments import assignments
from app.quantizer.child_protocol import Reporter, peaks, run
from app.quantizer.features import LabelledExample, labelled
from app.quantizer.packing import Window, window_of
from app.quantizer.rounding import (
    Group,
    Scheme,
    grouped,
    has_rounded_inputs,
    quantized,
    rounded,
    rounded_inputs,
)
from app.recordings.read import by_turns, read
from app.recordings.spec import Recordings

_FRAMES_A_SECOND = 100
_WRITE_EVERY = 10  # seconds
Scores = dict[str, float]


class Job(BaseModel):
    """What is to be scored. assignments: so many random ones are measured, and `further` ones.
    referee: whether each group is measured alone. done: the file of what is known already."""

    folder: Path
    recordings: Recordings
    windows: int
    schemes: list[Scheme]
    assignments: int
    referee: bool
    done: Path
    further: list[dict[Group, Scheme]] = []


class Measured:
    """Results by key, kept in a file as they come."""

    def __init__(self, path: Path, report: Reporter, total: int) -> None:
        self._path, self._report, self._total = path, report, total
        self._written, self._done = 0.0, 0
        self.found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        report.progress(0, total)

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return a result, measured unless it is known."""
        if key not in self.found:
            self.found[key] = measure()
            if time.monotonic() - self._written > _WRITE_EVERY:
                self.write()
        self._done += 1
        self._report.progress(self._done, self._total)
        return self.found[key]

    def write(self) -> None:
        write_json(self._path, self.found)
        self._written = time.monotonic()


class Windows:
    """Recordings' words under a model, by teacher forcing. The encoder is as long as the clip."""

    def __init__(self, model: Any, clips: Sequence[tuple[LabelledExample, int]]) -> None:
        self._model = model
        self._clips = clips
        with torch.no_grad():
            self._encoded = [self._encode(clip, frames) for clip, frames in clips]
            self._expected = [self._logits(number) for number in range(len(clips))]
        self.tokens = sum(len(clip.written) for clip, _ in clips)

    def _encode(self, clip: LabelledExample, frames: int) -> torch.Tensor:
        encoder = self._model.model.encoder
        features = clip.inputs["input_features"][None, :, :frames].to(self._model.device)
        hidden = torch.nn.functional.gelu(encoder.conv1(features))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        normed: torch.Tensor = encoder.layer_norm(hidden)
        return normed

    def _logits(self, number: int, encoded: torch.Tensor | None = None) -> torch.Tensor:
        """Return the log-probabilities of a clip's tokens, shape (tokens, vocabulary)."""
        clip, _ = self._clips[number]
        ids = clip.inputs["decoder_input_ids"][None].to(self._model.device)
        states = self._encoded[number] if encoded is None else encoded
        hidden = self._model.model.decoder(
            input_ids=ids, encoder_hidden_states=states, use_cache=False
        ).last_hidden_state[0, -len(clip.written) :]
        logits: torch.Tensor = self._model.proj_out(hidden).float().log_softmax(-1)
        return logits

    def _nll(self, number: int, logits: torch.Tensor) -> torch.Tensor:
        written = self._clips[number][0].written.to(logits.device)
        return -logits.gather(-1, written[:, None]).sum()

    def loss(self, *, encoder_changed: bool) -> dict[str, float]:
        """Return the divergence from the model as it came, and what the words' negative log
        likelihood has grown, in nats a token. Without gradients."""
        kl = added = 0.0
        for number, (clip, frames) in enumerate(self._clips):
            states = self._encode(clip, frames) if encoder_changed else None
            expected, found = self._expected[number], self._logits(number, states)
            kl += float((expected.exp() * (expected - found)).sum())
            added += float(self._nll(number, found) - self._nll(number, expected))
        return {"kl": kl / self.tokens, "nll": added / self.tokens}

    def backward(self, number: int) -> None:
        """Leave the gradients of a clip's loss, in nats a token, in the weights."""
        self._model.zero_grad(set_to_none=True)
        encoded = self._encode(*self._clips[number])
        loss = self._nll(number, self._logits(number, encoded))
        (loss / len(self._clips[number][0].written)).backward()

    def run(self) -> None:
        """Run all clips, for whoever watches the layers. Without gradients."""
        for number, (clip, frames) in enumerate(self._clips):
            self._logits(number, self._encode(clip, frames))

    @property
    def count(self) -> int:
        return len(self._clips)


def measure(job: Job, report: Reporter) -> dict[str, Any]:
    """Score every group under every scheme of a job; return scores, the measured assignments."""
    model = WhisperForConditionalGeneration.from_pretrained(job.folder, dtype=torch.float32)
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    windows = Windows(model, _clips(job))
    groups = grouped(model)
    lossy = [scheme for scheme in job.schemes if scheme != "none"]
    chosen = assignments(list(groups), job.schemes, job.assignments)
    alone = [(name, scheme) for name in groups for scheme in lossy] if job.referee else []
    done = Measured(job.done, report, 2 + len(chosen) + len(alone) + len(job.further))
    scores = [
        done.get("output", partial(output_scores, groups, windows, lossy)),
        done.get("gradient", partial(gradient_scores, groups, windows, lossy)),
    ]
    measured = [
        {"schemes": one, **done.get(f"assignment {number}", partial(_loss, groups, windows, one))}
        for number, one in enumerate(chosen)
    ]
    referee = {
        _key(*one): done.get(f"alone {_key(*one)}", partial(_loss, groups, windows, dict([one])))
        for one in alone
    }
    further = [
        done.get(f"further {json.dumps(one, sort_keys=True)}", partial(_loss, groups, windows, one))
        for one in job.further
    ]
    done.write()
    return {"scores": _joined(*scores, referee), "assignments": measured, "further": further,
            "windows": windows.count, "tokens": windows.tokens, **peaks()}  # fmt: skip


def _key(group: Group, scheme: Scheme) -> str:
    return f"{group} {scheme}"


def _joined(*several: Mapping[str, Scores]) -> dict[str, Scores]:
    joined: defaultdict[str, Scores] = defaultdict(dict)
    for one in several:
        for key, scores in one.items():
            joined[key] |= scores
    return dict(joined)


def _clips(job: Job) -> list[tuple[LabelledExample, int]]:
    """Return clips with how many frames their speech has, the languages by turns."""
    clips = read(job.recordings)
    chosen = by_turns([clip.language for clip in clips], job.windows)
    windows = [window_of(clips[number]) for number in chosen]
    return list(
        zip(labelled(job.folder, windows, torch.float32), map(_frames, windows), strict=True)
    )


def _frames(window: Window) -> int:
    """An even count: the second convolution halves it."""
    return min(3000, 2 * -(-int(window.seconds * _FRAMES_A_SECOND) // 2))


def _loss(
    groups: Mapping[Group, list[torch.nn.Linear]], windows: Windows, one: Mapping[Group, Scheme]
) -> dict[str, float]:
    changed = any(name.startswith("encoder.") and scheme != "none" for name, scheme in one.items())
    with torch.no_grad(), quantized(groups, one):
        found: dict[str, float] = windows.loss(encoder_changed=changed)
    return found


def output_scores(
    groups: Mapping[Group, list[torch.nn.Linear]], windows: Windows, schemes: Sequence[Scheme]
) -> dict[str, Scores]:
    """Return what changes in weights and outputs, of the model as it came."""
    sums: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    handles = [
        linear.register_forward_hook(_watch(name, schemes, sums))
        for name, linears in groups.items()
        for linear in linears
    ]
    with torch.no_grad():
        windows.run()
    for handle in handles:
        handle.remove()
    for name, linears in groups.items():
        for scheme in schemes:
            one = sums[_key(name, scheme)]
            weights = [linear.weight.data for linear in linears]
            changes = [before - rounded(before, scheme) for before in weights]
            one["weight_error"] = sum(float(change.square().sum()) for change in changes)
            one["relative_output"] = one["output_error"] / one.pop("output")
    return {key: dict(scores) for key, scores in sums.items()}


def _watch(
    name: Group, schemes: Sequence[Scheme], sums: Mapping[str, defaultdict[str, float]]
) -> Callable[..., None]:
    def hook(linear: torch.nn.Linear, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs = args[0].flatten(0, -2)
        strength = inputs.square().sum(0)
        power = float(output.square().sum())
        for scheme in schemes:
            one = sums[_key(name, scheme)]
            weights = rounded(linear.weight, scheme)
            seen = rounded_inputs(inputs) if has_rounded_inputs(scheme) else inputs
            wrong = seen @ weights.T - inputs @ linear.weight.T
            one["output_error"] += float(wrong.square().sum())
            one["output"] += power
            one["second_moments"] += float(((weights - linear.weight).square() @ strength).sum())

    return hook


def gradient_scores(
    groups: Mapping[Group, list[torch.nn.Linear]], windows: Windows, schemes: Sequence[Scheme]
) -> dict[str, Scores]:
    """Return the scores that the loss's gradients give."""
    sums: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for number in range(windows.count):
        windows.backward(number)
        with torch.no_grad():
            for name, linears in groups.items():
                for scheme in schemes:
                    _add_gradient(sums[_key(name, scheme)], linears, scheme, windows.count)
    return {key: dict(scores) for key, scores in sums.items()}


def _add_gradient(
    sums: defaultdict[str, float], linears: Sequence[torch.nn.Linear], scheme: Scheme, windows: int
) -> None:
    along = 0.0
    for linear in linears:
        change, gradient = rounded(linear.weight, scheme) - linear.weight, linear.weight.grad
        along += float((change * gradient).sum())
        sums["fisher"] += float((change * gradient).square().sum()) / windows
    sums["gradient"] += abs(along) / windows
    sums["squared_gradient"] += along**2 / windows


def main(events: int) -> int:
    """Do the job on standard input and report to the descriptor `events`; return the exit
    status."""
    return run(events, lambda job, report: measure(Job.model_validate_json(job), report))
