"""The engine: vLLM's AsyncLLM behind an interface that decodes windows."""

import asyncio
import itertools
import logging
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from vllm import SamplingParams
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from app.audio.waveform import SAMPLE_RATE
from app.errors import EngineDied, EngineFailed
from app.metrics import ModelMetrics, unobserved
from app.models.base import LanguageDetection
from app.models.whisper_vllm import attention_recorder, forkserver
from app.models.whisper_vllm.alignment_heads import Head
from app.models.whisper_vllm.decoder import Step, TokenRequest
from app.models.whisper_vllm.encoder_length import frames_of, padded
from app.models.whisper_vllm.engine_arguments import engine_arguments
from app.models.whisper_vllm.logits_processor import EXTRA_ARG
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.rules import forced_steps
from app.models.whisper_vllm.shutdown import shut_down, tell_the_waiting
from app.models.whisper_vllm.stat_logger import stat_logger
from app.models.whisper_vllm.tokens import SpecialTokens
from app.process import children_in_time, set_idle_priority
from app.speech.alignment import CrossAttention
from app.tracing import trace_headers

log = logging.getLogger(__name__)

_LAST_WAIT = 5  # seconds, for the engine's processes to end
_PAUSE = 2  # seconds, from an engine's death to the next one's start
_LONGEST_START = 900  # seconds: a large checkpoint from a slow disk; longer, it is stuck
_LONGEST_CALL = 60  # seconds, of the engine for what it answers at once
_ENDS: dict[str | None, Literal["text", "limit"] | None] = {
    None: None,
    "stop": "text",
    "length": "limit",
}


class VllmEngine:
    """One checkpoint in one AsyncLLM. Implements TokenDecoder and app.models.base.Engine.

    outputs: how often any window gave tokens, ever. used: when a window
    last came or left, by time.monotonic(). stalled: whether it was killed because it was stuck.
    start_seconds: what its start took beside what a process does only once, so as long as another
    one's will take if it dies; whoever warms it up adds that.
    """

    def __init__(self, llm: AsyncLLM, tokens: SpecialTokens, metrics: ModelMetrics) -> None:
        self._llm = llm
        self._tokens = tokens
        self._metrics = metrics
        self._ids = itertools.count()
        self._stopped = False
        self._begun: set[int] = set()  # windows in flight, numbered as they came
        self._loop: asyncio.AbstractEventLoop | None = None  # of those who decode
        self.outputs = 0
        self.stalled = False
        self.used = time.monotonic()
        self.start_seconds = 10.0

    @classmethod
    def start(
        cls,
        name: str,
        folder: Path,
        plan: EnginePlan,
        tokens: SpecialTokens,
        metrics: ModelMetrics | None,
        heads: Sequence[Head],
        **more: Any,
    ) -> "VllmEngine":
        """Load the checkpoint in `folder`; `name` is what vLLM's metrics call it, `heads` those
        that words are aligned by, `more` what engine_arguments takes beside these. Blocking, for
        seconds: call it in a thread.

        Without `metrics` nobody sees this engine. Raises EngineFailed.
        """
        arguments = engine_arguments(
            name, folder, plan, tokens, heads, is_observed=metrics is not None, **more
        )
        try:
            forkserver.have_vllm_use_it()
            with children_in_time(_LONGEST_START):
                # Of the first start, not of those that follow: so it does not count.
                forkserver.wait_until_ready()
                begun = time.monotonic()
                loggers = [stat_logger(metrics.engine.renew())] if metrics else None
                llm = AsyncLLM.from_engine_args(arguments, stat_loggers=loggers)
                engine = cls(llm, tokens, metrics or unobserved())
                engine.start_seconds = time.monotonic() - begun
                return engine
        except Exception as error:
            raise EngineFailed(
                f"vLLM could not load {folder}: {error}.",
                "Its log, above, says more; MARLINSCRIBE_LOG_LEVEL=debug shows all of it.",
            ) from error

    async def linear_kernels(self) -> dict[str, int]:
        """Kernel class to how many linear layers it serves, read from the worker. Raises
        EngineDied."""
        try:
            async with asyncio.timeout(_LONGEST_CALL):  # vLLM has no answer for a dead engine's
                kernels: list[dict[str, int]] = await self._llm.collective_rpc("linear_kernels")
        except (EngineDeadError, TimeoutError) as error:
            raise EngineDied("The engine does not answer.") from error
        return kernels[0]

    async def attention(self, request: TokenRequest, count: int) -> CrossAttention:
        """Return what chose the first `count` tokens of a window that was `recorded`, behind the
        forced ones. Once. Raises EngineDied."""
        first = len(request.prompt) - 1 + len(forced_steps(self._tokens, request.rules))
        frames = frames_of(request.window.duration_ms)
        asked = (request.recorded, first, count, frames)
        try:
            async with asyncio.timeout(_LONGEST_CALL):
                found: list[Any] = await self._llm.collective_rpc("take_attention", args=asked)
        except (EngineDeadError, TimeoutError) as error:
            raise EngineDied("The engine does not answer.") from error
        if found[0] is None:
            raise EngineDied("The engine has not kept what the words' times are found by.")
        return CrossAttention.of_bytes(**found[0])

    async def answers(self, seconds: float) -> bool:
        """Return whether the engine answers a call within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.linear_kernels()
        except (EngineDied, TimeoutError):
            return False
        return True

    @property
    def windows(self) -> int:
        """Windows that are in flight now."""
        return len(self._begun)

    @property
    def oldest(self) -> int | None:
        """The number of the window that has been in flight for longest."""
        return min(self._begun, default=None)

    @property
    def alive(self) -> bool:
        return not self._stopped and not self._llm.errored

    def stop(self) -> None:
        """End the engine's processes, if they have not been. Blocking, for seconds at most: one
        that does not heed SIGTERM, because it is stuck or stopped, is killed."""
        if self._stopped:
            return
        self._stopped = True
        try:
            shut_down(self._llm, _LAST_WAIT)
        finally:
            self.kill()
            tell_the_waiting(self._llm, self._loop)

    def set_idle_priority(self) -> None:
        """Have the engine's processes run only while nobody else wants the processors."""
        for process in self._processes():
            set_idle_priority(process.pid)

    def kill(self) -> None:
        """End the engine's processes at once; windows in flight raise EngineDied. Blocking, until
        the processes are gone and their memory is free."""
        for process in self._processes():
            if process.is_alive():
                process.kill()  # SIGKILL: others wait until a stopped process goes on
        for process in self._processes():
            process.join(_LAST_WAIT)

    def _processes(self) -> list[Any]:
        manager = self._llm.engine_core.resources.engine_manager  # no part of vLLM's interface
        return list(manager.processes)

    async def decode(
        self, request: TokenRequest, max_tokens: int | None = None
    ) -> AsyncGenerator[Step]:
        """Decode one window of at most 30 s, into all the tokens the model has room for unless
        `max_tokens` says less. Raises EngineDied; closing it aborts the request."""
        self._loop = asyncio.get_running_loop()
        room = self._tokens.max_tokens - len(request.prompt)
        sampling = self._sampling(request, min(room, max_tokens or room))
        forced = len(forced_steps(self._tokens, request.rules))
        self._metrics.windows_in_flight.inc()
        number = next(self._ids)
        self._begun.add(number)
        self.used = time.monotonic()
        try:
            async with aclosing(self._outputs(request, sampling, number)) as outputs:
                arrived = 0
                async for output in outputs:
                    yield self._step(output, forced, arrived)
                    arrived += len(output.token_ids)
        except (EngineDeadError, EngineGenerateError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._stopped:
                raise  # what is shut down raises these, and so do defects
            again = self.start_seconds + _PAUSE
            raise EngineDied(
                "The engine stopped while decoding. Try again shortly.", retry_after=again
            ) from error
        finally:
            self._metrics.windows_in_flight.dec()
            self._begun.discard(number)
            self.used = time.monotonic()

    async def _outputs(
        self, request: TokenRequest, sampling: SamplingParams, number: int
    ) -> AsyncGenerator[Any]:
        """Yield vLLM's CompletionOutputs, each with the tokens since the one before."""
        samples = padded(request.window.samples, request.positions)
        prompt = {
            "encoder_prompt": {
                "prompt": "",
                "multi_modal_data": {"audio": (samples, SAMPLE_RATE)},
            },
            "decoder_prompt": {"prompt_token_ids": list(request.prompt)},
        }
        parsed = parse_model_prompt(self._llm.model_config, prompt)
        (rendered,) = await self._llm.renderer.render_cmpl_async([parsed])
        last, request_id = 0.0, f"window-{number}"
        generating = self._llm.generate(
            rendered, sampling, request_id, trace_headers=trace_headers()
        )
        async with aclosing(generating) as partials:
            async for partial in partials:
                output, now = partial.outputs[0], time.perf_counter()
                for _ in output.token_ids if last else ():
                    # Several come at once when this loop was kept waiting.
                    self._metrics.inter_token.observe((now - last) / len(output.token_ids))
                last = now
                self.outputs += 1
                if partial.finished:
                    self._observe_queue(partial.metrics)
                yield output

    def _step(self, output: Any, forced: int, arrived: int) -> Step:
        """Convert one output of vLLM. `arrived` tokens came before it, of which the first `forced`
        carry no text."""
        if output.finish_reason not in (None, "stop", "length"):
            raise EngineDied(f"The engine gave the window up ({output.finish_reason}).")
        logprobs = output.logprobs
        first = None
        if arrived == 0:
            raw = {i: entry.logprob for i, entry in logprobs[0].items()}
            first = LanguageDetection(
                _language_probabilities(self._tokens, raw),
                math.exp(raw[self._tokens.no_speech]),
            )
        skipped = max(0, forced - arrived)
        # In flat form each position's first entry is the sampled token.
        sampled = [logprobs.logprobs[at] for at in logprobs.start_indices[skipped:]]
        return Step(
            sampled=tuple(zip(output.token_ids[skipped:], sampled, strict=True)),
            first=first,
            ended=_ENDS[output.finish_reason],
        )

    def _sampling(self, request: TokenRequest, max_tokens: int) -> SamplingParams:
        # No more candidates than can be chosen: each costs a gather at every step.
        first = forced_steps(self._tokens, request.rules)[:1] if self._tokens.languages else []
        return SamplingParams(
            temperature=request.temperature,
            seed=request.seed,
            max_tokens=max_tokens,
            stop_token_ids=[self._tokens.end_of_text],
            logprob_token_ids=[self._tokens.no_speech, *itertools.chain(*first)],
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args={
                EXTRA_ARG: asdict(request.rules),
                attention_recorder.NAME: request.recorded,
            },
        )

    def _observe_queue(self, times: Any) -> None:
        if times is not None and times.scheduled_ts and times.queued_ts:
            self._metrics.window_queue.observe(max(0.0, times.scheduled_ts - times.queued_ts))


def _language_probabilities(tokens: SpecialTokens, first: dict[int, float]) -> dict[str, float]:
    """Step 0's probabilities of the candidate languages, scaled to sum to 1."""
    raw = {code: math.exp(first[i]) for code, i in tokens.languages.items() if i in first}
    total = sum(raw.values())
    return {code: p / total for code, p in raw.items()} if total else {}
