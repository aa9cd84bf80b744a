"""The engine as the service sees it: windows in, tokens out. vLLM itself is in another process."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from app.errors import EngineDied, EngineFailed
from app.metrics import ModelMetrics, unobserved
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import Head
from app.models.whisper_vllm.decoder import Step, TokenRequest
from app.models.whisper_vllm.encoder_length import frames_of
from app.models.whisper_vllm.engine_link import EngineGone, EngineLink
from app.models.whisper_vllm.messages import Arrived, Call, Decode, EngineStart, Figures
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.rules import forced_steps
from app.models.whisper_vllm.tokens import SpecialTokens
from app.process import children_in_time, set_idle_priority
from app.speech.alignment import CrossAttention
from app.tracing import trace_headers

_LAST_WAIT = 5  # seconds, for the engine's process to end
_PAUSE = 2  # seconds, from an engine's death to the next one's start
_LONGEST_START = 900  # seconds: a large checkpoint from a slow disk; longer, it is stuck
_LONGEST_CALL = 60  # seconds, of the engine for what it answers at once


class VllmEngine:
    """One checkpoint in one vLLM. Implements TokenDecoder and app.models.base.Engine.

    outputs: how often any window gave tokens, ever. used: when a window
    last came or left, by time.monotonic(). stalled: whether it was killed because it was stuck.
    start_seconds: what its start took beside what a process does only once, so as long as another
    one's will take if it dies; whoever warms it up adds that.
    """

    def __init__(self, link: EngineLink, tokens: SpecialTokens, metrics: ModelMetrics) -> None:
        self._link = link
        self._tokens = tokens
        self._metrics = metrics
        self._numbers = itertools.count()
        self._stopped = False
        self._begun: set[int] = set()  # windows in flight, numbered as they came
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
        that words are aligned by, `more` what EngineStart takes beside these. Blocking, for
        seconds: call it in a thread.

        Without `metrics` nobody sees this engine. Raises EngineFailed.
        """
        is_observed = metrics is not None
        start = EngineStart(name, folder, plan, tokens, tuple(heads), is_observed, **more)
        try:
            with children_in_time(_LONGEST_START):
                # Of the first start, not of those that follow: so it does not count.
                forkserver.wait_until_ready()
                begun = time.monotonic()
                link = EngineLink(start, _shown(metrics))
                link.wait_ready()
        except Exception as error:
            raise EngineFailed(
                f"vLLM could not load {folder}: {error}.",
                "Its log, above, says more; MARLINSCRIBE_LOG_LEVEL=debug shows all of it.",
            ) from error
        engine = cls(link, tokens, metrics or unobserved())
        engine.start_seconds = time.monotonic() - begun
        return engine

    async def linear_kernels(self) -> dict[str, int]:
        """Kernel class to how many linear layers it serves, read from the worker. Raises
        EngineDied."""
        kernels: dict[str, int] = await self.call("linear_kernels")
        return kernels

    async def attention(self, request: TokenRequest, count: int) -> CrossAttention:
        """Return what chose the first `count` tokens of a window that was `recorded`, behind the
        forced ones. Once. Raises EngineDied."""
        first = len(request.prompt) - 1 + len(forced_steps(self._tokens, request.rules))
        frames = frames_of(request.window.duration_ms)
        found = await self.call("take_attention", request.recorded, first, count, frames)
        if found is None:
            raise EngineDied("The engine has not kept what the words' times are found by.")
        return CrossAttention.of_bytes(**found)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the worker returns (WhisperWorker). Raises EngineDied."""
        try:
            async with asyncio.timeout(_LONGEST_CALL):  # a stopped engine is silent
                return await self._link.call(Call(next(self._numbers), method, arguments))
        except (EngineGone, TimeoutError) as error:
            raise EngineDied("The engine does not answer.") from error

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
        return not self._stopped and not self._link.is_broken

    def stop(self) -> None:
        """End the engine's process, if it has not ended. Blocking, for seconds at most: one that
        does not heed, because it is stuck or stopped, is killed."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._link.stop(_LAST_WAIT)
        finally:
            self.kill()

    def set_idle_priority(self) -> None:
        """Have the engine's process run only while nobody else wants the processors."""
        if self._link.process.pid is not None:
            set_idle_priority(self._link.process.pid)

    def kill(self) -> None:
        """End the engine's process at once; windows in flight raise EngineDied. Blocking, until
        the process is gone and its memory is free."""
        self._link.kill(_LAST_WAIT)

    async def decode(
        self, request: TokenRequest, max_tokens: int | None = None
    ) -> AsyncGenerator[Step]:
        """Decode one window of at most 30 s, into all the tokens the model has room for unless
        `max_tokens` says less. Raises EngineDied; closing it aborts the request."""
        room = self._tokens.max_tokens - len(request.prompt)
        number = next(self._numbers)
        asked = Decode(number, request, min(room, max_tokens or room), trace_headers())
        self._metrics.windows_in_flight.inc()
        self._begun.add(number)
        self.used = time.monotonic()
        try:
            async with aclosing(self._arrivals(asked)) as arrivals:
                async for arrived in arrivals:
                    yield arrived.step
        except EngineGone as error:
            again = self.start_seconds + _PAUSE
            raise EngineDied(
                "The engine stopped while decoding. Try again shortly.", retry_after=again
            ) from error
        finally:
            self._metrics.windows_in_flight.dec()
            self._begun.discard(number)
            self.used = time.monotonic()

    async def _arrivals(self, asked: Decode) -> AsyncGenerator[Arrived]:
        """Yield what comes of a window, and observe it. Raises EngineGone, EngineDied."""
        async with aclosing(self._link.decode(asked)) as arrivals:
            async for arrived in arrivals:
                if arrived.given_up is not None:
                    raise EngineDied(f"The engine gave the window up ({arrived.given_up}).")
                for wait in arrived.waits:
                    self._metrics.inter_token.observe(wait)
                self.outputs += 1
                if arrived.queued is not None:
                    self._metrics.window_queue.observe(arrived.queued)
                yield arrived


def _shown(metrics: ModelMetrics | None) -> Any:
    """Return what is called with vLLM's metrics as they come."""
    if metrics is None:
        return lambda _: None
    place = metrics.engine.renew()

    def show(figures: Figures) -> None:
        place.families = figures.families

    return show
