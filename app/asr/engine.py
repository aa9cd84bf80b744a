"""vLLM, as the rest of the service sees it: a thing that decodes windows."""

import itertools
import logging
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms.interface import in_wsl
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine import utils as engine_utils
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from app.asr.plan import EnginePlan
from app.asr.rules import WindowRules, forced_steps
from app.asr.rules_vllm import EXTRA_ARG, WhisperLogitsProcessor
from app.asr.segments import Decoded
from app.asr.tokens import SpecialTokens
from app.asr.worker_extension import WorkerExtension
from app.audio.waveform import SAMPLE_RATE
from app.audio.windows import Window
from app.errors import EngineDied, EngineFailed
from app.metrics import Metrics

log = logging.getLogger(__name__)


class VllmEngine:
    """One checkpoint in one AsyncLLM. Implements WindowDecoder."""

    def __init__(self, llm: AsyncLLM, tokens: SpecialTokens, metrics: Metrics) -> None:
        self._llm = llm
        self._tokens = tokens
        self._metrics = metrics
        self._ids = itertools.count()
        self._stopped = False

    @classmethod
    def start(
        cls,
        name: str,
        folder: Path,
        plan: EnginePlan,
        tokens: SpecialTokens,
        metrics: Metrics,
        linear_backend: str = "auto",
    ) -> "VllmEngine":
        """Load the checkpoint in `folder`; `name` is what vLLM's metrics call it. Blocking, for
        seconds: call it in a thread.

        Raises EngineFailed.
        """
        arguments = AsyncEngineArgs(
            model=str(folder),
            served_model_name=name,
            dtype=plan.dtype,
            max_model_len=tokens.max_tokens,
            max_num_seqs=plan.windows,
            max_num_batched_tokens=plan.batched_tokens,
            kv_cache_memory_bytes=plan.kv_bytes,
            gpu_memory_utilization=plan.device_share,
            enforce_eager=plan.eager,
            linear_backend=linear_backend,
            use_tqdm_on_load=False,
            limit_mm_per_prompt={"audio": 1},
            mm_processor_cache_gb=0,  # a recording comes once
            distributed_executor_backend="uni",
            logits_processors=[WhisperLogitsProcessor],
            worker_extension_cls=f"{WorkerExtension.__module__}.{WorkerExtension.__name__}",
        )
        try:
            with _forked_from_zygote():
                return cls(AsyncLLM.from_engine_args(arguments), tokens, metrics)
        except Exception as error:
            raise EngineFailed(
                f"vLLM could not load {folder}: {error}.",
                "Its log, above, says more; MARLINSCRIBE_LOG_LEVEL=debug shows all of it.",
            ) from error

    async def linear_kernels(self) -> dict[str, int]:
        """Kernel class to how many linear layers it serves, read from the worker."""
        kernels: list[dict[str, int]] = await self._llm.collective_rpc("linear_kernels")
        return kernels[0]

    @property
    def alive(self) -> bool:
        return not self._stopped and not self._llm.errored

    def stop(self) -> None:
        """End the engine's processes. Blocking, for seconds at most."""
        self._stopped = True
        self._llm.shutdown(timeout=5)

    async def decode(
        self,
        window: Window,
        rules: WindowRules,
        temperature: float,
        on_token: Callable[[], None],
        max_tokens: int | None = None,
    ) -> Decoded:
        """Decode one window of at most 30 s, into all the tokens the model has room for unless
        `max_tokens` says less. Raises EngineDied; cancelling aborts the request."""
        sampling = self._sampling(rules, temperature, max_tokens or self._tokens.max_tokens - 1)
        self._metrics.in_flight.inc()
        try:
            output = await self._generate(window, sampling, on_token)
        except (EngineDeadError, EngineGenerateError) as error:
            raise EngineDied("The engine stopped while decoding. Try again shortly.") from error
        finally:
            self._metrics.in_flight.dec()
        return _decoded(self._tokens, rules, temperature, output)

    async def _generate(
        self, window: Window, sampling: SamplingParams, on_token: Callable[[], None]
    ) -> Any:
        prompt = {
            "encoder_prompt": {
                "prompt": "",
                "multi_modal_data": {"audio": (window.samples, SAMPLE_RATE)},
            },
            "decoder_prompt": {"prompt_token_ids": [self._tokens.start]},
        }
        parsed = parse_model_prompt(self._llm.model_config, prompt)
        (rendered,) = await self._llm.renderer.render_cmpl_async([parsed])
        output, last, tokens = None, 0.0, 0
        request_id = f"window-{next(self._ids)}"
        async for partial in self._llm.generate(rendered, sampling, request_id):
            output, now = partial, time.perf_counter()
            arrived = len(output.outputs[0].token_ids) - tokens
            if tokens:
                for _ in range(arrived):  # several come at once when this loop was kept waiting
                    self._metrics.inter_token.observe((now - last) / arrived)
            last, tokens = now, tokens + arrived
            on_token()
        if output is None:
            raise EngineDied("The engine gave no answer. Try again shortly.")
        self._observe_queue(output)
        return output

    def _sampling(self, rules: WindowRules, temperature: float, max_tokens: int) -> SamplingParams:
        # No more candidates than can be chosen: each costs a gather at every step.
        first = forced_steps(self._tokens, rules)[:1] if self._tokens.languages else []
        return SamplingParams(
            temperature=temperature,
            max_tokens=max_tokens,
            stop_token_ids=[self._tokens.end_of_text],
            logprob_token_ids=[self._tokens.no_speech, *itertools.chain(*first)],
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.CUMULATIVE,
            extra_args={EXTRA_ARG: asdict(rules)},
        )

    def _observe_queue(self, output: Any) -> None:
        times = output.metrics
        if times is not None and times.scheduled_ts and times.queued_ts:
            self._metrics.queue.observe(max(0.0, times.scheduled_ts - times.queued_ts))


def _decoded(tokens: SpecialTokens, rules: WindowRules, temperature: float, output: Any) -> Decoded:
    completion = output.outputs[0]
    forced = len(forced_steps(tokens, rules))
    logprobs = completion.logprobs
    first = {i: entry.logprob for i, entry in logprobs[0].items()}
    # In flat form each step's first entry is the sampled token.
    sampled = [logprobs.logprobs[start] for start in logprobs.start_indices[forced:]]
    ids = [i for i in completion.token_ids[forced:] if i != tokens.end_of_text]
    return Decoded(
        tokens=tuple(ids),
        languages=_language_probabilities(tokens, first),
        no_speech_prob=math.exp(first[tokens.no_speech]),
        avg_logprob=sum(sampled) / len(sampled) if sampled else 0.0,
        temperature=temperature,
        complete=completion.finish_reason == "stop",
    )


def _language_probabilities(tokens: SpecialTokens, first: dict[int, float]) -> dict[str, float]:
    """Step 0's probabilities of the candidate languages, scaled to sum to 1."""
    raw = {code: math.exp(first[i]) for code, i in tokens.languages.items() if i in first}
    total = sum(raw.values())
    return {code: p / total for code, p in raw.items()} if total else {}


@contextmanager
def _forked_from_zygote() -> Iterator[None]:
    """Have vLLM start its engine process from the fork server (see app.asr.zygote).

    Its own choices are fork, of a process with threads, and spawn, which imports everything anew.
    Under WSL, where NVIDIA's management library does not survive a fork, it keeps its choice.
    """
    if in_wsl():
        yield
        return
    original = engine_utils.get_mp_context
    engine_utils.get_mp_context = lambda: multiprocessing.get_context("forkserver")
    try:
        yield
    finally:
        engine_utils.get_mp_context = original
