"""Windows in vLLM's own terms: what is asked of its engine, and its outputs as Steps."""

import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vllm import SamplingParams
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.sampling_params import RequestOutputKind

from app.audio.waveform import SAMPLE_RATE
from app.models.base import LanguageDetection
from app.models.whisper_vllm import attention_recorder
from app.models.whisper_vllm.decoder import Step, TokenRequest
from app.models.whisper_vllm.encoder_length import padded
from app.models.whisper_vllm.logits_processor import EXTRA_ARG
from app.models.whisper_vllm.messages import Arrived, Decode
from app.models.whisper_vllm.rules import forced_steps
from app.models.whisper_vllm.tokens import SpecialTokens
from app.models.whisper_vllm.untold import Untold

_ENDS: dict[str | None, Literal["text", "limit"] | None] = {
    None: None,
    "stop": "text",
    "length": "limit",
}


@dataclass(frozen=True)
class Rendered:
    """A window as vLLM's engine takes it, its features computed."""

    number: int
    prompt: Any
    sampling: SamplingParams
    forced: int
    trace: Mapping[str, str] | None


@dataclass
class _Begun:
    """A window in vLLM: its forced tokens, how many tokens have come of it, and of those the ones
    that the service does not know yet."""

    forced: int
    untold: Untold
    arrived: int = 0


class Windows:
    """Hands windows to an LLMEngine and takes what comes of them."""

    def __init__(self, llm: Any, tokens: SpecialTokens) -> None:
        self._llm = llm
        self._tokens = tokens
        self._begun: dict[str, _Begun] = {}  # by vLLM's name of the request

    def rendered(self, asked: Decode) -> Rendered:
        """Compute a window's features. In one thread at a time, which may be another than that
        which steps the engine."""
        request = asked.request
        parsed = parse_model_prompt(self._llm.model_config, prompt_of(request))
        (prompt,) = self._llm.renderer.render_cmpl([parsed])
        forced = len(forced_steps(self._tokens, request.rules))
        sampling = sampling_of(self._tokens, request, asked.max_tokens)
        return Rendered(asked.number, prompt, sampling, forced, asked.trace)

    def add(self, window: Rendered) -> None:
        """Have the next step begin a window."""
        name = _name(window.number)
        self._llm.add_request(name, window.prompt, window.sampling, trace_headers=window.trace)
        self._begun[name] = _Begun(window.forced, Untold(self._tokens.timestamps))

    def abort(self, number: int) -> None:
        """Give a window up, which may be over."""
        if self._begun.pop(_name(number), None):
            self._llm.abort_request([_name(number)])

    def arrived(self, output: Any) -> Arrived | None:
        """Return what is to be told of a window, with what vLLM's RequestOutput brings; None where
        that can wait, or nobody wants it."""
        begun = self._begun.get(output.request_id)
        if begun is None:
            return None
        if output.finished:
            del self._begun[output.request_id]
        completion, number = output.outputs[0], int(output.request_id.rpartition("-")[2])
        if completion.finish_reason not in _ENDS:
            return Arrived(number, Step(()), given_up=completion.finish_reason)
        step = step_of(self._tokens, completion, begun.forced, begun.arrived)
        tokens = len(completion.token_ids)
        begun.arrived += tokens
        if not begun.untold.add(step, tokens, time.perf_counter()):
            return None
        queued = _queued(output.metrics) if output.finished else None
        return Arrived(number, *begun.untold.take(), queued)


def prompt_of(request: TokenRequest) -> dict[str, Any]:
    """Return a window as vLLM's prompt."""
    samples = padded(request.window.samples, request.positions)
    return {
        "encoder_prompt": {
            "prompt_token_ids": [0],  # vLLM puts the positions in its place
            "multi_modal_data": {"audio": (samples, SAMPLE_RATE)},
        },
        "decoder_prompt": {"prompt_token_ids": list(request.prompt)},
    }


def sampling_of(tokens: SpecialTokens, request: TokenRequest, max_tokens: int) -> SamplingParams:
    """Return how a window's tokens are sampled, and its rules with that."""
    # No more candidates than can be chosen: each costs a gather at every step.
    first = forced_steps(tokens, request.rules)[:1] if tokens.languages else []
    return SamplingParams(
        temperature=request.temperature,
        seed=request.seed,
        max_tokens=max_tokens,
        stop_token_ids=[tokens.end_of_text],
        logprob_token_ids=[tokens.no_speech, *itertools.chain(*first)],
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args={
            EXTRA_ARG: asdict(request.rules),
            attention_recorder.NAME: request.recorded,
        },
    )


def step_of(tokens: SpecialTokens, output: Any, forced: int, arrived: int) -> Step:
    """Convert a CompletionOutput of vLLM. `arrived` tokens came before it; the first `forced` of
    all carry no text."""
    logprobs = output.logprobs
    first = None
    if arrived == 0:
        raw = {i: entry.logprob for i, entry in logprobs[0].items()}
        first = LanguageDetection(
            _language_probabilities(tokens, raw), math.exp(raw[tokens.no_speech])
        )
    skipped = max(0, forced - arrived)
    # In flat form each position's first entry is the sampled token.
    sampled = [logprobs.logprobs[at] for at in logprobs.start_indices[skipped:]]
    return Step(
        sampled=tuple(zip(output.token_ids[skipped:], sampled, strict=True)),
        first=first,
        ended=_ENDS[output.finish_reason],
    )


def _name(number: int) -> str:
    return f"window-{number}"


def _queued(times: Any) -> float | None:
    if times is None or not (times.scheduled_ts and times.queued_ts):
        return None
    return max(0.0, float(times.scheduled_ts - times.queued_ts))


def _language_probabilities(tokens: SpecialTokens, first: dict[int, float]) -> dict[str, float]:
    """Step 0's probabilities of the candidate languages, scaled to sum to 1."""
    raw = {code: math.exp(first[i]) for code, i in tokens.languages.items() if i in first}
    total = sum(raw.values())
    return {code: p / total for code, p in raw.items()} if total else {}
