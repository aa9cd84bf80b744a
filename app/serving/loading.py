"""A checkpoint's way into an engine, ready to transcribe."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.audio.waveform import SAMPLE_RATE
from app.checkpoints.checkpoint import Checkpoint
from app.metrics import Metrics
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.decoder import DecodeRequest
from app.models.whisper_vllm.plan import Device, EnginePlan, ModelShape, plan_engine, weight_bytes
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.process import in_daemon_thread, run_shielded
from app.serving.stalls import end_if_stuck
from app.settings import Settings
from app.speech.windows import Window, quietest
from app.transcription.pipeline import WhisperTranscriber

if TYPE_CHECKING:
    from app.models.whisper_vllm.engine import VllmEngine

# So many times as long may an engine be silent that runs only while others leave it the processors.
_SLOWER = 10


@dataclass(frozen=True)
class LoadedModel:
    """A loaded checkpoint, ready to transcribe. `watch` ends with the engine; it is here because
    the event loop itself holds on to no task. `windows` are decoded at once."""

    checkpoint: Checkpoint
    engine: "VllmEngine"
    transcriber: WhisperTranscriber
    kernels: dict[str, int]
    since: int
    watch: asyncio.Task[bool] | None = None
    windows: int = 1

    def describe(self) -> dict[str, Any]:
        """The entry in /v1/models, beside OpenAI's fields."""
        checkpoint = self.checkpoint
        return {
            "source": checkpoint.source.name,
            "revision": checkpoint.source.revision or None,
            "scheme": checkpoint.scheme,
            "kernels": self.kernels,
            "weight_bytes": weight_bytes(checkpoint.folder),
            "fingerprint": checkpoint.fingerprint,
            "languages": sorted(self.transcriber.languages()),
            **checkpoint.provenance,
        }


@dataclass(frozen=True)
class Loader:
    """What every engine here is started with."""

    settings: Settings
    device: Device

    async def load(
        self,
        checkpoint: Checkpoint,
        metrics: Metrics | None,
        *,
        windows: int | None = None,
        patient: bool = False,
        idle_priority: bool = False,
        on_loaded: Callable[[], None] = lambda: None,
    ) -> LoadedModel:
        """Start an engine and warm it up. Without `metrics` it is not observed: vLLM keeps one
        engine's metrics in a process, which are the serving one's. `on_loaded` is called before
        the warm-up. Where it is cancelled, the `patient` leave no engine behind that is still
        starting; once loaded, one that `idle_priority` runs only while nobody else wants the
        processors. From here on it is killed where it is stuck. Raises EngineFailed, EngineDied;
        nothing of it is left then."""
        tokens, plan = await in_daemon_thread(self._planned, checkpoint, windows)
        forkserver.revive()
        engine = await _started(self._start, checkpoint, tokens, plan, metrics, patient=patient)
        begun = time.monotonic()
        stall = self.settings.engine_stall_seconds * (_SLOWER if idle_priority else 1)
        watch = asyncio.create_task(end_if_stuck(engine, stall))
        try:
            on_loaded()
            await _warm(engine, (tokens.start,))
            engine.start_seconds += time.monotonic() - begun
            codec = await asyncio.to_thread(TextCodec, checkpoint.folder, tokens)
            transcriber = WhisperTranscriber(
                engine,
                tokens,
                codec,
                window_seconds=self.settings.window_seconds,
                # Twice what decodes at once keeps the engine busy while answers are rendered.
                in_flight=2 * plan.windows,
            )
            kernels = await engine.linear_kernels()
            if idle_priority:
                engine.set_idle_priority()
        except BaseException:
            await run_shielded(engine.stop)
            raise
        return LoadedModel(
            checkpoint, engine, transcriber, kernels, int(time.time()), watch, plan.windows
        )

    def _planned(
        self, checkpoint: Checkpoint, windows: int | None
    ) -> tuple[SpecialTokens, EnginePlan]:
        """Blocking: it reads files, and asks the card, which may take half a minute to answer."""
        plan = plan_engine(
            ModelShape.of(checkpoint.folder),
            self.device,
            windows=windows or self.settings.max_windows,
            kv_bytes=self.settings.kv_cache_bytes,
        )
        return SpecialTokens.load(checkpoint.folder), plan

    def _start(
        self,
        checkpoint: Checkpoint,
        tokens: SpecialTokens,
        plan: EnginePlan,
        metrics: Metrics | None,
    ) -> "VllmEngine":
        from app.models.whisper_vllm.engine import (
            VllmEngine,  # imports vLLM: seconds, so not before it is needed
        )

        quietest(_noise(), 0, SAMPLE_RATE)  # imports librosa, for seconds too
        return VllmEngine.start(
            checkpoint.source.name,
            checkpoint.folder,
            plan,
            tokens,
            metrics,
            self.settings.linear_backend,
            self.settings.otlp_traces_endpoint,
        )


async def _started(
    start: Callable[..., "VllmEngine"], *arguments: Any, patient: bool
) -> "VllmEngine":
    """The engine. Starting cannot be broken off: one that nobody wants any more is ended as soon as
    it is there, and the `patient` wait for that."""
    starting = asyncio.ensure_future(in_daemon_thread(start, *arguments))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        if patient:
            await asyncio.wait({starting})
            if not starting.exception():
                await run_shielded(starting.result().stop)
        else:
            starting.add_done_callback(_end)
        raise


def _end(started: "asyncio.Future[VllmEngine]") -> None:
    if not started.cancelled() and not started.exception():
        threading.Thread(target=started.result().stop, daemon=True).start()


async def _warm(engine: "VllmEngine", prompt: tuple[int, ...]) -> None:
    """A second of faint noise through what is slow the first time, so that no client pays for
    it; a few tokens of it, for a model may find a great deal to say about noise."""
    ask = DecodeRequest(Window(0, _noise()), WindowRules(), prompt)
    async for _ in engine.decode(ask, max_tokens=4):
        pass


def _noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE).astype(np.float32)
